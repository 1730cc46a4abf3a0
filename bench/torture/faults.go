package main

// faults is every fault there is, in the order of their turns.
func faults() []fault {
	var all []fault
	for _, part := range [][]fault{descriptorFaults, pipeFaults, clockFaults, networkFaults, processFaults, stateFaults, adminFaults, rangesFaults, stallFaults, strangerFaults, floodFaults, wireFaults, headerFaults} {
		all = append(all, part...)
	}
	return all
}
