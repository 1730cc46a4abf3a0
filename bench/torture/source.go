package main

import (
	"fmt"
	"time"

	"sluice/bench/client"
)

// kind is what is wrong with what a flood says.
type kind string

const (
	foreignKind  kind = "foreign"  // a hello that no secret has signed
	signedKind   kind = "signed"   // a good one: but nothing more will be said
	replayedKind kind = "replayed" // one that has been used
	lateKind     kind = "late"     // one by a clock that is an hour behind
	headerKind   kind = "header"   // a PROXY header that was tampered with
)

// parting is how somebody leaves who has spoken.
type parting uint8

const (
	onAnswer   parting = iota // he resets when he is answered
	hasty                     // he does not wait for it
	halfClosed                // he ends his direction first
)

// source makes what is said next. It is valid until the next call.
type source func(now time.Time) (say []byte, p parting)

// built is how many hellos are built beforehand, and then made new again and again: building one costs more than refusing it.
const built = 32

// newSource makes the source of a kind. The seed is that of wrong headers.
func newSource(k kind, seed uint64) (source, error) {
	if k == headerKind {
		return headerSource(seed), nil
	}
	renew, ok := renewals[k]
	if !ok {
		return nil, fmt.Errorf("no kind %q", k)
	}
	var hellos [built][]byte
	for i := range hellos {
		hellos[i] = signed()
	}
	n := 0
	return func(now time.Time) ([]byte, parting) {
		hello := hellos[n%len(hellos)]
		n++
		renew(hello, now)
		return hello, onAnswer
	}, nil
}

// renewals make a hello one that was never seen.
var renewals = map[kind]func(hello []byte, now time.Time){
	foreignKind: func(hello []byte, _ time.Time) { client.Renew(hello) },
	signedKind: func(hello []byte, now time.Time) {
		client.Renew(hello)
		client.Resign(hello, secret.Key, now)
	},
	replayedKind: func([]byte, time.Time) {},
	lateKind: func(hello []byte, now time.Time) {
		client.Renew(hello)
		client.Resign(hello, secret.Key, now.Add(-time.Hour))
	},
}
