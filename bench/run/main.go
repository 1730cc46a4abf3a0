// Command run measures proxies side by side: it starts load clients, data centres and fronts as processes of their own, puts each
// variant between them in turn, round by round, and writes a table and a JSON file. See docs/performance.md.
//
//	go run ./bench/run -scenarios download-8,exchange-4k -rounds 5 -json out.json
//
// Nothing leaves the machine: it uses loopback addresses or network namespaces of its own, everything is bounded, and every
// process it starts ends with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"sluice/bench/baseline"
	"sluice/bench/client"
	"sluice/bench/far"
	"sluice/bench/load"
)

func main() {
	if err := child(os.Args[1:]); !errors.Is(err, errNoChild) {
		exit(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	opts, err := parseOptions(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = drive(ctx, opts)
	}
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

var errNoChild = errors.New("not one of the driver's own processes")

// child runs one of the processes that the driver starts from its own executable.
func child(args []string) error {
	if len(args) == 0 {
		return errNoChild
	}
	switch args[0] {
	case "child-far":
		return far.Serve(os.Stdin, os.Stdout)
	case "child-load":
		return load.Serve(os.Stdin, os.Stdout)
	case "child-raw":
		addrs, err := addresses(args[1:])
		if err != nil || len(addrs) < 2 {
			return errors.Join(errors.New("raw takes LISTEN and one TARGET or more"), err)
		}
		return baseline.Raw(addrs[0], addrs[1:])
	case "child-plain":
		if len(args) != 5 {
			return errors.New("plain takes LISTEN, DC, FRONT and SECRET")
		}
		addrs, err := addresses(args[1:4])
		if err != nil {
			return err
		}
		secret, err := client.ParseSecret(args[4])
		if err != nil {
			return err
		}
		return baseline.Plain(baseline.PlainConfig{Listen: addrs[0], DC: addrs[1], Front: addrs[2], Key: secret.Key})
	}
	return errNoChild
}

func addresses(args []string) (all []netip.AddrPort, err error) {
	for _, a := range args {
		p, err := netip.ParseAddrPort(strings.TrimSpace(a))
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}
