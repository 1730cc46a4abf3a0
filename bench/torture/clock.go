package main

import (
	"errors"
	"fmt"
	"time"

	"sluice/bench/client"
)

var clockFaults = []fault{
	{
		name: "clock-ahead", about: "the time of day jumps an hour ahead, and back: clients are an hour late meanwhile, and see the front",
		hurts: victims{clients: true}, box: supervisedBox, strike: clockJump(time.Hour), meanwhile: sameClock(time.Hour),
	},
	{
		name: "clock-behind", about: "the time of day jumps an hour back, and ahead again",
		hurts: victims{clients: true}, box: supervisedBox, strike: clockJump(-time.Hour), meanwhile: sameClock(-time.Hour),
	},
}

// clockJump has the proxy see another time of day.
func clockJump(by time.Duration) func(*trial) (func() error, error) {
	return func(t *trial) (func() error, error) {
		t.box.super.offset.Store(int64(by))
		return func() error {
			t.box.super.offset.Store(0)
			if t.box.super.told.Load() == 0 {
				return errors.New("the proxy did not ask for the time")
			}
			t.notef("%d times of day told, %v off", t.box.super.told.Load(), by)
			return nil
		}, nil
	}
}

// sameClock wants clients whose clock is as wrong as the proxy's to be served meanwhile, and their hellos to be good once.
func sameClock(by time.Duration) func(*trial) error {
	return func(t *trial) error {
		for range 10 {
			hello := client.Hello{Host: secret.Host, Time: time.Now().Add(by)}.Sign(secret.Key)
			c, err := t.clientAs(client.Config{Raw: hello})
			if err != nil {
				return fmt.Errorf("a client with the same clock: %w", err)
			}
			if err := visit(c); err != nil {
				return err
			}
			if c, err := t.clientAs(client.Config{Raw: hello}); err == nil {
				_ = c.Close()
				return errors.New("a hello was good twice")
			}
		}
		time.Sleep(t.span())
		return nil
	}
}
