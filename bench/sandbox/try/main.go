// Command try makes one system call, with arguments that no call can do anything with, and prints the error number it ends with. It is for
// the tests of the list, which need a program as plain as the proxy itself: the race detector makes calls of its own.
package main

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

func main() {
	number, err := strconv.Atoi(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	_, _, e := unix.Syscall6(uintptr(number), ^uintptr(0), ^uintptr(0), 0, ^uintptr(0), 0, 0)
	fmt.Println(int(e))
}
