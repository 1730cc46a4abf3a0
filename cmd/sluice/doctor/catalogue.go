package doctor

import "slices"

// entry is what is always true of a look.
type entry struct{ id, title, why string }

// catalogue is every ID there is, in the order of a report. docs/doctor.md has them all.
var catalogue = []entry{
	{"configuration", "The configuration", "what the settings say is what everything else here is measured by"},
	{"proxy-running", "The running proxy", "the proxy's own counters tell what no look from outside can"},

	{"public-name", "Where the public name leads", "clients must come to the load balancer; a name that leads to this host gives the origin away"},
	{"public-tls", "Who answers at the public name", "only a load balancer of layer 4 carries FakeTLS; one that ends TLS itself shows its own certificate and breaks every client"},
	{"secret-host", "The secret's name in DNS", "a censor who looks up the name in the hello should find the address that the client connects to"},

	{"edge-ranges", "From where the load balancer connects", "the list shuts everybody else out; an old one shuts the load balancer out too, weeks later and for no obvious reason"},
	{"edge-peers", "Who has come", "connections that come from outside the ranges are turned away: those of the load balancer as well, when the list is another's"},
	{"edge-guard", "The kernel's guard", "a port that accepts and closes is not a closed port to a scanner"},
	{"outside-answer", "A connection past the load balancer", "whoever can talk to the origin directly can find it, and the load balancer is decoration"},
	{"proxy-header", "PROXY headers", "when only one side speaks PROXY no client gets in, and the two settings are in two places"},

	{"clock", "The clock", "clients are told from strangers by a time stamp in their hello: with a wrong clock they are all strangers"},
	{"clock-sync", "What keeps the clock", "a clock that nobody sets is wrong one day"},

	{"dc-1", "Data centre 1", whyDC},
	{"dc-2", "Data centre 2", whyDC},
	{"dc-3", "Data centre 3", whyDC},
	{"dc-4", "Data centre 4", whyDC},
	{"dc-5", "Data centre 5", whyDC},
	{"dc-203", "Data centre 203", whyDC},
	{"dc-test", "Test data centres", "only people who test Telegram clients need them"},
	{"dc-addresses", "All addresses of data centres", "a client waits while addresses that lead nowhere are tried"},

	{"front-reachable", "The front", "everybody without a secret is shown it: without it a stranger meets a closed connection, which no web site does"},
	{"front-certificate", "The front's certificate", "a prober who asks for the secret's name must see a certificate that is good for it"},
	{"front-flight", "Our handshake beside the front's", "the lengths of a handshake can be seen by anybody; ours should be the front's"},

	{"origin-services", "Other services on this host", "they let a censor know this host again, whatever stands in front of the proxy"},
	{"origin-certificates", "Certificates on this host", "scanners read the certificate on every address there is: one that names the proxy leads them here"},
	{"outbound", "Calls that go out", "every call from here shows this host's address to whom it goes to"},

	{"limit-descriptors", "File descriptors", "each client takes two; beyond the limit new clients are turned away"},
	{"limit-pipes", "Pipes", "downloads move through pipes in the kernel; without them they are copied, which costs more CPU"},
	{"limit-ports", "Local ports", "each client takes one towards its data centre; without one it is not connected"},
	{"limit-backlog", "The accept queue", "when many clients come back at once, those beyond the queue wait and try again"},
	{"limit-conntrack", "Connection tracking", "a full table drops new connections, and the kernel's log is the only place that tells"},
	{"limit-memory", "Memory", "the kernel's buffers are what a client costs; without memory the process is killed"},
}

const whyDC = "clients whose account or files are there get nothing without it"

// place is an ID's index in the catalogue.
func place(id string) int {
	i := slices.IndexFunc(catalogue, func(e entry) bool { return e.id == id })
	if i < 0 {
		panic("doctor: no such look: " + id)
	}
	return i
}

// IDs are those of all looks, in the order of a report.
func IDs() (ids []string) {
	for _, e := range catalogue {
		ids = append(ids, e.id)
	}
	return ids
}

// allChecks are the looks; together they make one finding for each ID.
func allChecks() []check {
	return []check{
		one("configuration", checkConfiguration),
		one("proxy-running", checkRunning),
		one("public-name", checkPublicName),
		one("public-tls", checkPublicTLS),
		one("secret-host", checkSecretHosts),
		one("edge-ranges", checkRanges),
		one("edge-peers", checkPeers),
		one("edge-guard", checkGuard),
		one("outside-answer", checkOutside),
		one("proxy-header", checkHeaders),
		one("clock", checkClock),
		one("clock-sync", checkClockSync),
		{ids: dcIDs, run: checkDCs},
		one("front-reachable", checkFront),
		one("front-certificate", checkFrontCertificate),
		one("front-flight", checkFlight),
		one("origin-services", checkServices),
		one("origin-certificates", checkOwnCertificates),
		one("outbound", checkOutbound),
		one("limit-descriptors", checkDescriptors),
		one("limit-pipes", checkPipes),
		one("limit-ports", checkPorts),
		one("limit-backlog", checkBacklog),
		one("limit-conntrack", checkConntrack),
		one("limit-memory", checkMemory),
	}
}
