package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
)

// chart is a line chart over time.
type chart struct {
	title  string
	unit   string  // of the vertical axis
	scale  float64 // values are divided by it
	log    bool    // the vertical axis counts in powers of ten; what is not positive is left out
	lines  []line
	marks  []mark
	length float64 // seconds
}

// line is one series. Its points may be NaN: a gap.
type line struct {
	name string
	at   []float64 // seconds
	y    []float64
}

// mark is a moment at which something happened.
type mark struct {
	kind string
	at   float64 // seconds
}

// The measures of a chart, in pixels.
const (
	chartWidth, chartHeight             = 920, 330
	plotLeft, plotTop, plotRight, plotB = 70, 50, 20, 56
	plotWidth                           = chartWidth - plotLeft - plotRight
	plotHeight                          = chartHeight - plotTop - plotB
	columnsDrawn                        = 500 // of a line: within each, the greatest value is drawn
)

// palette are colours that can be told apart on white and on black.
var palette = []string{"#2f7ed8", "#e07b39", "#3aa655", "#b04fc4", "#c43c4d", "#7a7f87"}

// write writes the chart as SVG. It needs no font, script or style of anybody's.
func (c chart) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="#6b7078">`+"\n",
		chartWidth, chartHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", chartWidth, chartHeight)
	fmt.Fprintf(&b, `<text x="%d" y="18" font-size="14" fill="#24292f">%s</text>`+"\n", plotLeft, escape(c.title))
	v := c.vertical()
	c.drawMarks(&b)
	v.draw(&b, c.unit)
	c.drawTime(&b)
	for i, l := range c.lines {
		c.drawLine(&b, v, l, palette[i%len(palette)])
		legend(&b, 37, i, l.name, palette[i%len(palette)], c.names())
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text))
	return b.String()
}

func (c chart) names() (all []string) {
	for _, l := range c.lines {
		all = append(all, l.name)
	}
	return all
}

// x is where a moment is drawn.
func (c chart) x(seconds float64) float64 { return plotLeft + plotWidth*seconds/max(c.length, 1) }

// axis is a vertical axis from low to high, already in the unit.
type axis struct {
	low, high float64
	log       bool
	ticks     []float64
}

// vertical makes an axis that holds all lines.
func (c chart) vertical() axis {
	low, high := math.Inf(1), math.Inf(-1)
	for _, l := range c.lines {
		for _, y := range l.y {
			if y = y / c.scale; !math.IsNaN(y) && (!c.log || y > 0) {
				low, high = min(low, y), max(high, y)
			}
		}
	}
	if math.IsInf(low, 0) { // nothing is known
		low, high = 1, 1
	}
	if c.log {
		return logAxis(low, high)
	}
	return linearAxis(high)
}

// linearAxis begins at zero: what grows must not look as if it had exploded, nor what explodes as if it had grown.
func linearAxis(high float64) axis {
	step := niceStep(high / 5)
	a := axis{high: step * math.Ceil(high/step)}
	for i := 0; float64(i)*step <= a.high*1.0001; i++ {
		a.ticks = append(a.ticks, float64(i)*step)
	}
	return a
}

func logAxis(low, high float64) axis {
	from, to := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	if to == from {
		to++
	}
	a := axis{low: math.Pow(10, from), high: math.Pow(10, to), log: true}
	for e := from; e <= to; e++ {
		a.ticks = append(a.ticks, math.Pow(10, e))
	}
	return a
}

// niceStep is the next of 1, 2, 5, 10, 20 and so on.
func niceStep(least float64) float64 {
	if !(least > 0) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(least)))
	for _, m := range []float64{1, 2, 5, 10} {
		if m*power >= least*0.9999 {
			return m * power
		}
	}
	return 10 * power
}

// y is where a value is drawn.
func (a axis) y(v float64) float64 {
	share := (v - a.low) / (a.high - a.low)
	if a.log {
		share = math.Log(v/a.low) / math.Log(a.high/a.low)
	}
	return plotTop + plotHeight*(1-share)
}

func (a axis) draw(b *strings.Builder, unit string) {
	for _, t := range a.ticks {
		y := a.y(t)
		fmt.Fprintf(b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#d0d4d9" stroke-width="0.6"/>`+"\n", plotLeft, plotLeft+plotWidth, y, y)
		fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", plotLeft-6, y+4, fmt.Sprintf("%.6g", t))
	}
	fmt.Fprintf(b, `<text x="16" y="%d" transform="rotate(-90 16 %d)" text-anchor="middle">%s</text>`+"\n",
		plotTop+plotHeight/2, plotTop+plotHeight/2, escape(unit))
}

// drawTime draws the horizontal axis, in minutes or seconds.
func (c chart) drawTime(b *strings.Builder) {
	unit, name := 60.0, "min"
	if c.length < 120 {
		unit, name = 1, "s"
	}
	step := niceStep(c.length / unit / 10)
	for t := 0.0; t <= c.length/unit; t += step {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%.6g</text>`+"\n", c.x(t*unit), plotTop+plotHeight+16, t)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", chartWidth-plotRight, plotTop+plotHeight+30, name)
}

// drawMarks draws a thin line for each mark, and one legend for each kind of them.
func (c chart) drawMarks(b *strings.Builder) {
	var names []string
	colours := map[string]string{}
	for _, m := range c.marks {
		if colours[m.kind] == "" {
			colours[m.kind] = palette[len(names)%len(palette)]
			names = append(names, m.kind)
		}
		x := c.x(m.at)
		fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s" stroke-width="1" stroke-opacity="0.3"/>`+"\n",
			x, x, plotTop, plotTop+plotHeight, colours[m.kind])
		fmt.Fprintf(b, `<path d="M%.1f %d l-3 6 h6 z" fill="%s"/>`+"\n", x, plotTop+plotHeight, colours[m.kind])
	}
	for i, name := range names {
		legend(b, chartHeight-10, i, name, colours[name], names)
	}
}

// legend writes one name with its colour, behind those before it.
func legend(b *strings.Builder, y, i int, name, colour string, all []string) {
	x := plotLeft
	for _, before := range all[:i] {
		x += 30 + 7*len(before)
	}
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="12" height="3" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n", x, y-6, colour, x+16, y, escape(name))
}

// drawLine draws a line, broken where nothing is known. Where there are more points than columns, the greatest of each is drawn:
// a spike must not fall between two pixels.
func (c chart) drawLine(b *strings.Builder, a axis, l line, colour string) {
	var path strings.Builder
	pen := "M"
	for i := 0; i < len(l.y); {
		column := math.Floor(l.at[i] / max(c.length, 1) * columnsDrawn)
		top, at := math.NaN(), l.at[i]
		for ; i < len(l.y) && math.Floor(l.at[i]/max(c.length, 1)*columnsDrawn) == column; i++ {
			if y := l.y[i] / c.scale; !math.IsNaN(y) && (!c.log || y > 0) && !(y <= top) {
				top, at = y, l.at[i]
			}
		}
		if math.IsNaN(top) {
			pen = "M"
			continue
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", pen, c.x(at), a.y(top))
		pen = "L"
	}
	fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="1.4"/>`+"\n", path.String(), colour)
}
