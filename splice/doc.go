// Package splice moves the bytes of established connections: one [Loop] per core, each with its own epoll, its own slab of
// relays, its own pipes and one scratch buffer. A connection comes here with a descriptor of its client and the addresses of
// its upstream (a DC or the front); it never goes back.
//
// A relay has two sides, the client and the upstream, and two halves: up (client to upstream) and down (upstream to client).
// Epoll reports edges, which only set bits on a side; step then moves each half as far as its source and its sink allow:
//
//	          Add                 upstream answers            both halves at their end
//	(none) ────────▶ dialing ───────────────────▶ open ────────────────────────────────▶ free
//	                  │  ▲ │ every address failed   │ a side is reset, a deadline passes    ▲
//	   address failed └──┘ └────────────────────────┼───▶ lingering ────────────────────────┘
//	                                                └───▶   (the tail leaves, then RST)
//
// A relay may be added without a client: the front is dialled and fed what the client said so far, while the engine still
// makes up its mind (a hello that is not whole). Until [Loop.Adopt] brings the client, such a relay only reports that its
// upstream has something to say.
//
// The rules each half obeys, and why, are in the project's design, section 4; move.go is where they are kept.
package splice
