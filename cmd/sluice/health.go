package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"sluice/engine/config"
)

// healthTimeout is below the 5 s or more that container engines give a health command.
const healthTimeout = 3 * time.Second

// health asks the admin address of the proxy that runs with the same settings.
func (a *app) health(c *command, args []string) error {
	if err := a.noArguments(c, args); err != nil {
		return err
	}
	cfg, err := config.Load(a.environ)
	if err != nil {
		return err
	}
	if cfg.AdminListen == config.AdminOff {
		return hinted{errors.New("SLUICE_ADMIN_LISTEN is off, so there is nothing to ask"), "set it to an address or a unix socket"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), healthTimeout)
	defer cancel()
	if err := askHealth(ctx, cfg.AdminListen); err != nil {
		return fmt.Errorf("not healthy: %w", err)
	}
	fmt.Fprintln(a.out, "healthy")
	return nil
}

// askHealth wants 200 from /healthz at an admin address as Config.AdminListen gives it.
func askHealth(ctx context.Context, admin string) error {
	network, address := dialable(admin)
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/healthz", nil)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request) // no client: redirects and proxies of the environment are not wanted
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 512))
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(body)))
}

// dialable turns an address that is listened on into one to connect to.
func dialable(admin string) (network, address string) {
	if path, ok := strings.CutPrefix(admin, "unix:"); ok {
		return "unix", path
	}
	a, err := netip.ParseAddrPort(admin)
	if err == nil && a.Addr().IsUnspecified() {
		a = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
		return "tcp", a.String()
	}
	return "tcp", admin
}
