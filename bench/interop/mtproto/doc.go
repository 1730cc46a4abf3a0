// Package mtproto tests the proxy with a real Telegram client and real MTProto servers: gotd/td through an ee secret to gotd's
// own test servers, all on loopback. The proxy is the built program; SLUICE_BIN names it, bin/sluice of this tree otherwise.
//
// Nothing here knows the proxy's packages. What the client sends and accepts (its hello, FakeTLS records, obfuscated2, the key
// exchange, encrypted messages) and what the servers do is gotd's code.
package mtproto
