package replay

import (
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkInsertFresh includes what doubling and turning cost: a window holds a million keys.
func BenchmarkInsertFresh(b *testing.B) {
	table := New(time.Second, 2<<20)
	var i uint64
	b.ReportAllocs()
	for b.Loop() {
		if table.Insert(key(i), start.Add(time.Duration(i)*time.Microsecond)) != Fresh {
			b.Fatal("not fresh")
		}
		i++
	}
}

func BenchmarkInsertReplayed(b *testing.B) {
	const n = 1 << 20
	table := New(time.Hour, n)
	for i := range uint64(n) {
		table.Insert(key(i), start)
	}
	st := table.Stats()
	var i uint64
	b.ReportAllocs()
	for b.Loop() {
		if table.Insert(key(i*7919%n), start) != Replayed {
			b.Fatal("not replayed")
		}
		i++
	}
	b.ReportMetric(float64(st.Bytes)/n, "B/key")
}

func BenchmarkInsertParallel(b *testing.B) {
	table := New(time.Second, 2<<20)
	var next atomic.Uint64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := next.Add(1)
			table.Insert(key(i), start.Add(time.Duration(i)*time.Microsecond))
		}
	})
}
