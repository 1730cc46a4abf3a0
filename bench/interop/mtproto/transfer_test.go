package mtproto

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/gotd/td/telegram"
	"github.com/gotd/td/telegram/dcs"
	"github.com/gotd/td/telegram/downloader"
	"github.com/gotd/td/telegram/uploader"
	"github.com/gotd/td/tg"

	"sluice/bench/stand"
)

// Neither file is a whole number of chunks.
const (
	downSize = 64<<20 + 12_345
	upSize   = 16<<20 + 777
)

// limit is what one session may take, key exchanges and both files.
const limit = 45 * time.Second

func TestTransfer(t *testing.T) {
	down, up := content(1, downSize), content(2, upSize)
	for _, mode := range []struct {
		name, setting string
		aligned       bool
	}{
		{"aligned", "on", true},
		{"re-encrypted", "off", false},
	} {
		t.Run(mode.name, func(t *testing.T) {
			r := startRig(t, down, map[string]string{"SLUICE_ALIGNED_DOWNLOADS": mode.setting})
			for _, way := range []struct{ client, centre string }{{v4, v4}, {v4, v6}, {v6, v4}, {v6, v6}} {
				t.Run(fmt.Sprintf("client over %s, data centre over %s", way.client, way.centre), func(t *testing.T) {
					r.transfer(t, r.clients[way.client], r.centres[way.centre], up, mode.aligned)
				})
			}
		})
	}
}

// content is a file that nobody can compress.
func content(seed uint64, size int) []byte {
	b := make([]byte, size)
	_, _ = io.ReadFull(stand.NewPattern(seed), b)
	return b
}

// transfer runs a session: a key exchange, remote calls, then both files at once, each on its own connection.
func (r *rig) transfer(t *testing.T, via netip.AddrPort, dc *datacentre, up []byte, aligned bool) {
	t.Helper()
	before, downBefore, upBefore := dc.seen(), r.carried(t, "down"), r.carried(t, "up")
	s := &session{rig: r, dc: dc}
	if err := s.run(t.Context(), via, up); err != nil {
		t.Fatal(err)
	}
	// The client hides a lost connection by making another.
	after := dc.seen()
	if got, want := (frames{after.home - before.home, after.media - before.media}), (frames{1, 1}); got != want {
		t.Errorf("connections for the data centre's numbers: %+v, want %+v", got, want)
	}
	checkPaths(t, since(downBefore, r.carried(t, "down")), since(upBefore, r.carried(t, "up")), aligned)
}

func since(before, after map[string]float64) map[string]float64 {
	d := map[string]float64{}
	for k := range after {
		d[k] = after[k] - before[k]
	}
	return d
}

// checkPaths checks that the files went the way they should have, so that both ways are tested.
func checkPaths(t *testing.T, down, up map[string]float64, aligned bool) {
	t.Helper()
	if up["crypt"] < upSize {
		t.Errorf("up by path: %v, of a file of %d", up, upSize)
	}
	untouched := down["splice"] + down["copy"]
	switch {
	case aligned && (untouched < downSize || down["crypt"] != 0):
		t.Errorf("down by path: %v, of a file of %d that needs no cryptography", down, downSize)
	case aligned && down["splice"] == 0:
		t.Errorf("down by path: %v, nothing spliced", down)
	case !aligned && (untouched != 0 || down["crypt"] < downSize):
		t.Errorf("down by path: %v, of a file of %d that needs re-encrypting", down, downSize)
	}
}

// session is one run of a client.
type session struct {
	rig    *rig
	dc     *datacentre
	client *telegram.Client

	mu   sync.Mutex
	dead error // why the client's connection was lost
}

func (s *session) run(ctx context.Context, via netip.AddrPort, up []byte) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	resolver, err := dcs.MTProxy(via.String(), s.rig.secret, dcs.MTProxyOptions{})
	if err != nil {
		return err
	}
	s.client = telegram.NewClient(1, "hash", telegram.Options{
		PublicKeys: []telegram.PublicKey{s.dc.key.Public()}, DC: s.dc.id, DCList: dcs.List{Options: unreachable(s.dc.id)},
		Resolver: resolver, Logger: s.rig.log, CompressThreshold: -1, OnDead: s.died,
	})
	err = s.client.Run(ctx, func(ctx context.Context) error { return s.use(ctx, up) })
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(err, s.dead)
}

// died notes a connection that was lost while it was wanted.
func (s *session) died(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !errors.Is(err, context.Canceled) {
		s.dead = errors.Join(s.dead, fmt.Errorf("the client's connection: %w", err))
	}
}

// use does what a user would, and ends with a small request on each connection: when that is answered, the proxy has counted
// all that came before.
func (s *session) use(ctx context.Context, up []byte) error {
	home := tg.NewClient(s.client)
	if err := s.ask(ctx, home); err != nil {
		return err
	}
	pool, err := s.client.MediaOnly(ctx, s.dc.id, 1)
	if err != nil {
		return fmt.Errorf("media connection: %w", err)
	}
	defer pool.Close()
	media := tg.NewClient(pool)
	uploaded := make(chan error, 1)
	go func() { uploaded <- s.upload(ctx, home, up) }()
	downErr := s.download(ctx, media)
	if err := errors.Join(downErr, <-uploaded); err != nil {
		return err
	}
	return errors.Join(s.ask(ctx, home), s.ask(ctx, media))
}

// ask makes a remote call whose answer only the right data centre gives.
func (s *session) ask(ctx context.Context, api *tg.Client) error {
	nearest, err := api.HelpGetNearestDC(ctx)
	if err != nil {
		return fmt.Errorf("help.getNearestDc: %w", err)
	}
	if nearest.ThisDC != s.dc.id || nearest.Country != "ZZ" {
		return fmt.Errorf("help.getNearestDc: %+v from data centre %d", nearest, s.dc.id)
	}
	return nil
}

func (s *session) upload(ctx context.Context, api *tg.Client, content []byte) error {
	whole := uploader.NewUpload("file", bytes.NewReader(content), int64(len(content)))
	file, err := uploader.NewUploader(api).WithPartSize(maxPart).WithThreads(8).Upload(ctx, whole)
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	big, ok := file.(*tg.InputFileBig)
	if !ok {
		return fmt.Errorf("upload: it became a %T", file)
	}
	size, sum, err := s.rig.files.take(big.ID)
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	if want := sha256.Sum256(content); size != len(content) || sum != want {
		return fmt.Errorf("upload: %d bytes %x arrived, %d bytes %x were sent", size, sum, len(content), want)
	}
	return nil
}

func (s *session) download(ctx context.Context, api *tg.Client) error {
	file := s.rig.files
	got := &hashed{limit: len(file.offered), got: make([]byte, 0, len(file.offered))}
	_, err := downloader.NewDownloader().WithPartSize(maxChunk).Download(api, &file.location).Stream(ctx, got)
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	if sum, want := sha256.Sum256(got.got), sha256.Sum256(file.offered); len(got.got) != len(file.offered) || sum != want {
		return fmt.Errorf("download: %d bytes %x arrived, %d bytes %x were offered", len(got.got), sum, len(file.offered), want)
	}
	return nil
}

// hashed gathers a file that may not be longer than limit.
type hashed struct {
	limit int
	got   []byte
}

func (h *hashed) Write(b []byte) (int, error) {
	if len(h.got)+len(b) > h.limit {
		return 0, fmt.Errorf("more than the %d bytes that were offered", h.limit)
	}
	h.got = append(h.got, b...)
	return len(b), nil
}
