// Package stand holds stand-ins for what a proxy talks to: a Telegram data centre (the far side of obfuscated2), a web site
// behind TLS, a plain TCP front, and the proxy itself as a process under test. They are real servers on real sockets, for the
// tests in bench, the demonstration and the load scenarios.
//
// The data centre and the plain front speak the same small request protocol (Request), so that a test decides from the
// client's side what the far side does: send so many bytes and close, swallow, echo, reset, or hold still. Payloads are
// a stream that both sides can compute (Pattern), so that every byte is checked and none is stored.
//
// Everything here is written from protocol.md without the proxy's own packages: the two check each other.
package stand
