package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"sluice/cmd/sluice/doctor"
	"sluice/engine/config"
)

// doctor looks at the configuration and at everything around it that can make it fail. It changes nothing.
func (a *app) doctor(c *command, args []string) error {
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "")
	offline := flags.Bool("offline", false, "")
	own := flags.String("own", "", "")
	ignore := flags.String("ignore", "", "")
	if _, err := a.parse(c, flags, args); err != nil {
		return err
	}
	w := doctor.Real()
	w.Offline = *offline
	var err error
	if w.Own, err = addresses(*own); err != nil {
		return usageError{text: "--own: " + err.Error(), hint: "give this host's public addresses, commas between them"}
	}
	ignored := words(*ignore)
	for _, id := range ignored {
		if !slices.Contains(doctor.IDs(), id) {
			return usageError{text: fmt.Sprintf("--ignore: there is no look %q", id), hint: "docs/doctor.md lists them"}
		}
	}
	cfg, err := config.Load(a.environ)
	if err != nil {
		return err
	}
	ctx, done := context.WithTimeout(context.Background(), doctor.TotalTime)
	defer done()
	report := doctor.Run(ctx, cfg, w, versionText(), ignored)
	write := report.WriteText
	if *asJSON {
		write = report.WriteJSON
	}
	if err := write(a.out); err != nil {
		return err
	}
	if n := report.Failed(); n > 0 {
		return errors.New(failedText(n))
	}
	return nil
}

func failedText(n int) string {
	if n == 1 {
		return "1 look has failed"
	}
	return fmt.Sprintf("%d looks have failed", n)
}

func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

func addresses(list string) (all []netip.Addr, err error) {
	for _, text := range words(list) {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not an address", text)
		}
		all = append(all, addr.Unmap())
	}
	return all, nil
}
