package ranges

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const fetchTime = 30 * time.Second // for one URL, all of it

var errInsecure = errors.New("sent on to an address without TLS")

// NewClient makes a client for the publishers. It keeps nothing open, and does not follow from TLS to where anybody could change the list.
func NewClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 20 * time.Second,
		},
		CheckRedirect: func(next *http.Request, before []*http.Request) error {
			if before[0].URL.Scheme == "https" && next.URL.Scheme != "https" {
				return errInsecure
			}
			if len(before) >= 5 {
				return errors.New("sent on too often")
			}
			return nil
		},
	}
}

// Keeper keeps the ranges of some sources. Any goroutine may call its methods.
type Keeper struct {
	client *http.Client
	dir    string // of the last good lists; empty: none are kept
	now    func() time.Time
	set    atomic.Pointer[Set]
	again  chan struct{}

	refreshing sync.Mutex
	mu         sync.Mutex // of lists, for all but who refreshes
	lists      []list
}

// list is what is known of one source.
type list struct {
	source   Source
	prefixes []netip.Prefix
	taken    time.Time // when it was good; zero without one
	builtIn  bool      // it came with the program, and there is a newer one elsewhere
}

// State is what may be told of a source.
type State struct {
	Source   string
	Prefixes int
	Taken    time.Time // when the list in force was fetched, or built in; zero without one
	Changes  bool
	BuiltIn  bool // the list in force came with the program; that of a source that changes is old by now
}

// Outcome is how one source's refresh ended.
type Outcome struct {
	Source string
	Err    error // nil: a good list is in force, as of now
	Added  int   // prefixes that the list before did not have
	Gone   int   // prefixes that the new one does not
	// Unsaved says why a good list, which is in force, could not be kept for the next start.
	Unsaved error
}

// NewKeeper starts with the newest good list of each source: from the state directory, a file, or built in. It makes no network
// call. Errors tell of a list that could not be read; the keeper works all the same, with what there is.
func NewKeeper(sources []Source, dir string, client *http.Client, now func() time.Time) (*Keeper, error) {
	k := &Keeper{client: client, dir: dir, now: now, again: make(chan struct{}, 1)}
	var errs []error
	for _, s := range sources {
		l := list{source: s}
		var err error
		if l.prefixes, l.taken, err = s.builtIn(); err != nil {
			errs = append(errs, fmt.Errorf("%s: built in: %w", s.Name, err))
		}
		l.builtIn = len(s.URLs) > 0 && len(l.prefixes) > 0
		if kept, taken, err := k.load(&s); err == nil && taken.After(l.taken) {
			l.prefixes, l.taken, l.builtIn = kept, taken, false
		} else if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("%s: %w", s.Name, err))
		}
		if s.Path != "" {
			if got, err := k.obtain(context.Background(), &s); err == nil {
				l.prefixes, l.taken = got, now()
			} else {
				errs = append(errs, fmt.Errorf("%s: %w", s.Name, err))
			}
		}
		k.lists = append(k.lists, l)
	}
	k.publish()
	return k, errors.Join(errs...)
}

// Set is the set in force. It never changes; ask again for the next one.
func (k *Keeper) Set() *Set { return k.set.Load() }

// States tells of every source.
func (k *Keeper) States() []State {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []State
	for _, l := range k.lists {
		all = append(all, State{l.source.Name, len(l.prefixes), l.taken, l.source.Changes(), l.builtIn})
	}
	return all
}

// publish puts the lists in force, all at once.
func (k *Keeper) publish() {
	var all []netip.Prefix
	for _, l := range k.lists {
		all = append(all, l.prefixes...)
	}
	k.set.Store(NewSet(all))
}

// Refresh asks every source that changes. A list that is refused, or cannot be had, leaves the last good one in force. With
// force a list may shrink by more than half.
func (k *Keeper) Refresh(ctx context.Context, force bool) []Outcome {
	return k.refreshThose(ctx, force, (*Source).Changes)
}

// Reread takes over what lies on this machine: lists that somebody else has put into the state directory, and files. No publisher is asked.
func (k *Keeper) Reread() []Outcome {
	k.reload()
	return k.refreshThose(context.Background(), false, func(s *Source) bool { return s.Path != "" })
}

func (k *Keeper) refreshThose(ctx context.Context, force bool, which func(*Source) bool) (all []Outcome) {
	k.refreshing.Lock()
	defer k.refreshing.Unlock()
	for i := range k.lists {
		if which(&k.lists[i].source) {
			all = append(all, k.refresh(ctx, i, force))
		}
	}
	return all
}

func (k *Keeper) refresh(ctx context.Context, i int, force bool) Outcome {
	l := &k.lists[i]
	out := Outcome{Source: l.source.Name}
	got, err := k.obtain(ctx, &l.source)
	if err == nil && !force && l.source.Path == "" && 2*len(got) < len(l.prefixes) { // a file is the operator's own word
		err = fmt.Errorf("%w: %d ranges, from %d", ErrShrunk, len(got), len(l.prefixes))
	}
	if err != nil {
		out.Err = err
		return out
	}
	out.Added, out.Gone = missing(got, l.prefixes), missing(l.prefixes, got)
	k.mu.Lock()
	l.prefixes, l.taken, l.builtIn = got, k.now(), false
	k.mu.Unlock()
	k.publish()
	out.Unsaved = k.save(l)
	return out
}

// Inherit takes over what another keeper knows better of the same sources.
func (k *Keeper) Inherit(from *Keeper) {
	from.mu.Lock()
	known := slices.Clone(from.lists)
	from.mu.Unlock()
	k.refreshing.Lock()
	defer k.refreshing.Unlock()
	for i := range k.lists {
		for _, o := range known {
			if o.source.Name == k.lists[i].source.Name {
				k.take(i, o.prefixes, o.taken)
			}
		}
	}
	k.publish()
}

// reload takes over lists that somebody else has put into the state directory since: sluice ranges --force.
func (k *Keeper) reload() {
	k.refreshing.Lock()
	defer k.refreshing.Unlock()
	for i := range k.lists {
		if kept, taken, err := k.load(&k.lists[i].source); err == nil {
			k.take(i, kept, taken)
		}
	}
	k.publish()
}

// take replaces a list by a newer one.
func (k *Keeper) take(i int, prefixes []netip.Prefix, taken time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l := &k.lists[i]; l.source.Changes() && taken.After(l.taken) {
		l.prefixes, l.taken, l.builtIn = prefixes, taken, false
	}
}

// missing counts the prefixes of a that b does not have.
func missing(a, b []netip.Prefix) (n int) {
	have := map[netip.Prefix]bool{}
	for _, p := range b {
		have[p] = true
	}
	for _, p := range a {
		if !have[p] {
			n++
		}
	}
	return n
}

// obtain gets the whole list of a source.
func (k *Keeper) obtain(ctx context.Context, s *Source) ([]netip.Prefix, error) {
	if s.Path != "" {
		f, err := os.Open(s.Path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return readAll(f, s.read)
	}
	var all []netip.Prefix
	for _, u := range s.URLs {
		part, err := k.fetch(ctx, u, s.read)
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
	}
	return all, nil
}

func (k *Keeper) fetch(ctx context.Context, address string, read parser) ([]netip.Prefix, error) {
	ctx, done := context.WithTimeout(ctx, fetchTime)
	defer done()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	shown := WithoutQuery(address)
	r, err := k.client.Do(q)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // without the URL, which it repeats with its query
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", shown, err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: status %d", shown, r.StatusCode)
	}
	list, err := readAll(r.Body, read)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", shown, err)
	}
	return list, nil
}

func readAll(r io.Reader, read parser) ([]netip.Prefix, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxList+1))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxList {
		return nil, ErrTooLong
	}
	return read(b)
}
