package ranges

import (
	"context"
	"math/rand/v2"
	"time"
)

const firstRetry = time.Minute

// Run refreshes the sources that change until ctx ends: for the first time when the oldest list in force is as old as every,
// after a failure sooner. It gives each outcome to report.
func (k *Keeper) Run(ctx context.Context, every time.Duration, report func(Outcome)) {
	oldest, changes := k.oldest()
	if !changes {
		return
	}
	wait, retry := min(max(every-k.now().Sub(oldest), 0), every), min(firstRetry, every)
	for {
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-k.again:
			k.reload()
		case <-t.C:
		}
		failed := false
		for _, o := range k.Refresh(ctx, false) {
			if ctx.Err() != nil {
				return
			}
			failed = failed || o.Err != nil
			report(o)
		}
		if failed {
			wait, retry = retry, min(2*retry, every)
		} else {
			wait, retry = every+rand.N(every/10+1), min(firstRetry, every)
		}
	}
}

// Again has Run ask every source now. Any goroutine.
func (k *Keeper) Again() {
	select {
	case k.again <- struct{}{}:
	default:
	}
}

// oldest is the date of the oldest list in force that can be asked for again.
func (k *Keeper) oldest() (taken time.Time, changes bool) {
	for _, s := range k.States() {
		if s.Changes && (!changes || s.Taken.Before(taken)) {
			taken, changes = s.Taken, true
		}
	}
	return taken, changes
}
