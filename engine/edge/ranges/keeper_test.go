package ranges

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const good = "192.0.2.0/24\n198.51.100.0/24\n203.0.113.0/24\n2001:db8::/32\n"

// publisher serves what it is told to.
type publisher struct {
	*httptest.Server
	answer http.HandlerFunc
}

func publish(t *testing.T) *publisher {
	t.Helper()
	p := &publisher{answer: says(good)}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.answer(w, r) }))
	t.Cleanup(p.Close)
	return p
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
}

func (p *publisher) sources(t *testing.T) []Source {
	t.Helper()
	s, err := ParseSources(p.URL + "/list?password=hush")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newKeeper(t *testing.T, s []Source, dir string) *Keeper {
	t.Helper()
	k, err := NewKeeper(s, dir, NewClient(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func only(t *testing.T, all []Outcome) Outcome {
	t.Helper()
	if len(all) != 1 {
		t.Fatalf("%d outcomes", len(all))
	}
	return all[0]
}

// Whatever a publisher does, the last good list stays in force, on disk too, and the next good one is taken.
func TestHostilePublishers(t *testing.T) {
	inside, outside := netip.MustParseAddr("192.0.2.77"), netip.MustParseAddr("8.8.8.8")
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   error // nil: any
	}{
		"empty":         {says(""), ErrEmpty},
		"a web page":    {says("<!DOCTYPE html><title>Sign in</title>"), ErrNoList},
		"default route": {says(good + "0.0.0.0/0\n"), ErrTooWide},
		"shrunk":        {says("192.0.2.0/24\n"), ErrShrunk},
		"huge": {func(w http.ResponseWriter, _ *http.Request) {
			line := []byte(strings.Repeat("# a remark of some length\n", 1000))
			for n := 0; n <= MaxList; n += len(line) {
				_, _ = w.Write(line)
			}
		}, ErrTooLong},
		"status 500": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, nil},
		"status 404 with a list": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(404)
			_, _ = w.Write([]byte(good))
		}, nil},
		"truncated": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(good))
		}, nil},
		"slow": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(good))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, context.DeadlineExceeded},
		"sent elsewhere": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/list", http.StatusFound) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p, dir := publish(t), t.TempDir()
			k := newKeeper(t, p.sources(t), dir)
			if k.Set().Len() != 0 {
				t.Fatal("there is a list before one was fetched")
			}
			if o := only(t, k.Refresh(t.Context(), false)); o.Err != nil || o.Added != 4 || o.Gone != 0 {
				t.Fatalf("the good list: %+v", o)
			}
			before, taken := k.Set(), k.States()[0].Taken
			p.answer = tt.answer
			ctx, done := context.WithTimeout(t.Context(), 200*time.Millisecond)
			if name != "slow" {
				done()
				ctx, done = context.WithTimeout(t.Context(), time.Minute)
			}
			defer done()
			o := only(t, k.Refresh(ctx, false))
			if o.Err != nil && strings.Contains(o.Err.Error(), "hush") {
				t.Errorf("what the URL asks with is told: %v", o.Err)
			}
			if o.Err == nil || tt.want != nil && !errors.Is(o.Err, tt.want) {
				t.Errorf("%v, want %v", o.Err, tt.want)
			}
			if k.Set() != before || !k.States()[0].Taken.Equal(taken) || !k.Set().Contains(inside) || k.Set().Contains(outside) {
				t.Error("something else is in force")
			}
			again := newKeeper(t, p.sources(t), dir)
			if again.Set().Len() != 4 || !again.States()[0].Taken.Equal(taken) {
				t.Errorf("after a restart: %d ranges as of %v", again.Set().Len(), again.States()[0].Taken)
			}
			p.answer = says(good + "100.64.0.0/10\n")
			if o := only(t, k.Refresh(t.Context(), false)); o.Err != nil || o.Added != 1 || k.Set().Len() != 5 {
				t.Errorf("the next good list: %+v", o)
			}
		})
	}
}

// A publisher with TLS is not followed to where anybody on the way could change the list.
func TestNoWayDownFromTLS(t *testing.T) {
	plain := publish(t)
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL+"/list", http.StatusFound))
	defer secure.Close()
	client := NewClient()
	client.Transport = secure.Client().Transport
	s, err := ParseSources(secure.URL + "/list")
	if err != nil {
		t.Fatal(err)
	}
	k, _ := NewKeeper(s, "", client, time.Now)
	if o := only(t, k.Refresh(t.Context(), false)); !errors.Is(o.Err, errInsecure) || k.Set().Len() != 0 {
		t.Errorf("%v, %d ranges", o.Err, k.Set().Len())
	}
}

// Half of a list is taken, less than half is not, unless it is forced.
func TestShrinking(t *testing.T) {
	p := publish(t)
	k := newKeeper(t, p.sources(t), "")
	k.Refresh(t.Context(), false)
	p.answer = says("192.0.2.0/24\n198.51.100.0/24\n")
	if o := only(t, k.Refresh(t.Context(), false)); o.Err != nil || o.Gone != 2 {
		t.Errorf("half: %+v", o)
	}
	p.answer = says("203.0.113.0/24\n")
	if o := only(t, k.Refresh(t.Context(), false)); o.Err != nil || o.Gone != 2 || o.Added != 1 {
		t.Errorf("half again: %+v", o)
	}
	p.answer = says(good)
	k.Refresh(t.Context(), false)
	p.answer = says("192.0.2.0/24\n")
	if o := only(t, k.Refresh(t.Context(), true)); o.Err != nil || k.Set().Len() != 1 {
		t.Errorf("forced: %+v", o)
	}
}

// One list of several that fails changes nothing of the others, and nothing of itself.
func TestSeveralSources(t *testing.T) {
	a, b := publish(t), publish(t)
	b.answer = says("10.0.0.0/8\n")
	k := newKeeper(t, append(append(a.sources(t), b.sources(t)...), Source{Name: given, fixed: mustParse("172.16.0.0/12")}), "")
	a.answer = says("no list")
	out := k.Refresh(t.Context(), false)
	if len(out) != 2 || out[0].Err == nil || out[1].Err != nil {
		t.Errorf("%+v", out)
	}
	if got := join(k.Set().all(), " "); got != "10.0.0.0/8 172.16.0.0/12" {
		t.Errorf("in force: %s", got)
	}
}

func TestStateFile(t *testing.T) {
	p, dir := publish(t), t.TempDir()
	newKeeper(t, p.sources(t), dir).Refresh(t.Context(), false)
	files, _ := filepath.Glob(filepath.Join(dir, "ranges", "*"))
	if len(files) != 1 {
		t.Fatalf("files: %v", files)
	}
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"cut": string(whole[:len(whole)/2]), "emptied": "", "a default route": strings.Replace(string(whole), "192.0.2.0/24", "0.0.0.0/0", 1)} {
		if err := os.WriteFile(files[0], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := NewKeeper(p.sources(t), dir, NewClient(), time.Now)
		if err == nil || k.Set().Len() != 0 {
			t.Errorf("%s: %d ranges, %v", name, k.Set().Len(), err)
		}
		if o := only(t, k.Refresh(t.Context(), false)); o.Err != nil {
			t.Errorf("%s: then %v", name, o.Err)
		}
	}
	blocked := filepath.Join(dir, "a-file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	k, _ := NewKeeper(p.sources(t), blocked, NewClient(), time.Now)
	if o := only(t, k.Refresh(t.Context(), false)); o.Err != nil || o.Unsaved == nil || k.Set().Len() != 4 {
		t.Errorf("a directory that cannot be written: %d ranges, %v, unsaved: %v", k.Set().Len(), o.Err, o.Unsaved)
	}
}

// A kept list that is older than the one built in does not replace it; a newer one does.
func TestNewestAtStart(t *testing.T) {
	dir := t.TempDir()
	write := func(when time.Time) {
		k := &Keeper{dir: dir}
		if err := k.save(&list{source: known[0], taken: when, prefixes: mustParse("192.0.2.0/24")}); err != nil {
			t.Fatal(err)
		}
	}
	write(known[0].taken.Add(-time.Hour))
	if k := newKeeper(t, known[:1], dir); k.Set().Len() < 15 {
		t.Error("an old list replaced the one built in")
	}
	write(known[0].taken.Add(time.Hour))
	if k := newKeeper(t, known[:1], dir); k.Set().Len() != 1 {
		t.Error("a newer list was not used")
	}
}

func TestFileSource(t *testing.T) {
	path := filepath.Join(t.TempDir(), "edge.txt")
	s, err := ParseSources(path)
	if err != nil {
		t.Fatal(err)
	}
	if k, err := NewKeeper(s, "", nil, time.Now); !errors.Is(err, os.ErrNotExist) || k.Set().Len() != 0 {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	k := newKeeper(t, s, "")
	if k.Set().Len() != 4 {
		t.Errorf("%d ranges", k.Set().Len())
	}
	if err := os.WriteFile(path, []byte("192.0.2.0/24\n198.51.100.0/24\n203.0.113.0/25\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if o := only(t, k.Refresh(t.Context(), false)); o.Err != nil || k.Set().Len() != 3 {
		t.Errorf("%d ranges, %v", k.Set().Len(), o.Err)
	}
}

// transport answers requests without a network, so that time can be the test's own.
type transport func() (string, error)

func (f transport) RoundTrip(*http.Request) (*http.Response, error) {
	text, err := f()
	if err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	_, _ = w.WriteString(text)
	return w.Result(), nil
}

// The schedule: at once without a list, then each period; after a failure a minute, two, four, no more than a period; when asked, now.
func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // of the three below
		var asked []time.Duration
		var fail bool
		var outcomes int
		start := time.Now()
		client := &http.Client{Transport: transport(func() (string, error) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, time.Since(start).Round(time.Minute))
			if fail {
				return "", errors.New("no route")
			}
			return good, nil
		})}
		s, _ := ParseSources("https://example.org/list")
		k, _ := NewKeeper(s, "", client, time.Now)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			k.Run(ctx, 10*time.Minute, func(Outcome) {
				mu.Lock()
				defer mu.Unlock()
				outcomes++
			})
			close(ended)
		}()
		step := func(d time.Duration, want int, what string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(asked) != want || outcomes != want {
				t.Fatalf("%s: asked %d times (%v), %d outcomes, want %d", what, len(asked), asked, outcomes, want)
			}
		}
		step(time.Second, 1, "at once")
		step(9*time.Minute, 1, "before the period")
		step(3*time.Minute, 2, "after the period")
		failing := func(v bool) {
			mu.Lock()
			defer mu.Unlock()
			fail = v
		}
		failing(true)
		for n := 2; n < 3; {
			time.Sleep(time.Second)
			synctest.Wait()
			mu.Lock()
			n = len(asked)
			mu.Unlock()
		}
		step(50*time.Second, 3, "less than a minute later")
		step(11*time.Second, 4, "a minute later")
		step(61*time.Second, 4, "not yet")
		step(60*time.Second, 5, "two minutes later")
		step(4*time.Minute+time.Second, 6, "four minutes later")
		step(8*time.Minute+time.Second, 7, "eight minutes later")
		step(10*time.Minute+time.Second, 8, "a period later, no more")
		failing(false)
		k.Again()
		step(time.Second, 9, "when asked")
		step(9*time.Minute, 9, "before the next period")
		step(3*time.Minute, 10, "after it")
		stop()
		<-ended
	})
}

func TestScheduleOfWhatNeverChanges(t *testing.T) {
	s, _ := ParseSources("gcp-load-balancer,192.0.2.0/24")
	k := newKeeper(t, s, t.TempDir())
	k.Run(t.Context(), time.Second, func(Outcome) { t.Error("asked") }) // returns
	if out := k.Refresh(t.Context(), false); len(out) != 0 {
		t.Errorf("%+v", out)
	}
}

// What a URL asks with may be a password: it tells sources apart, and nobody is shown it.
func TestQueries(t *testing.T) {
	var keys []string
	for _, query := range []string{"", "?password=hush", "?password=other"} {
		s, err := ParseSources("https://lists.example/of/ranges" + query + ",192.0.2.0/24")
		if err != nil {
			t.Fatal(err)
		}
		want := "https://lists.example/of/ranges,192.0.2.0/24"
		if query != "" {
			want = "https://lists.example/of/ranges?...,192.0.2.0/24"
		}
		if got := Text(s); got != want {
			t.Errorf("shown as %s, want %s", got, want)
		}
		keys = append(keys, Key(s))
	}
	if slices.Sort(keys); len(slices.Compact(keys)) != 3 {
		t.Errorf("different lists have the same key: %q", keys)
	}
}

// A keeper takes over what another has fetched of the same source, and nothing older than what it has itself.
func TestInherit(t *testing.T) {
	p, q := publish(t), publish(t)
	old := newKeeper(t, append(p.sources(t), q.sources(t)...), "")
	old.Refresh(t.Context(), false)
	more, err := ParseSources(p.URL + "/list?password=hush,10.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	k := newKeeper(t, more, "")
	k.Inherit(old)
	if k.Set().Len() != 5 || !k.States()[0].Taken.Equal(old.States()[0].Taken) {
		t.Errorf("%d ranges as of %v", k.Set().Len(), k.States()[0].Taken)
	}
	p.answer = says("192.0.2.0/24\n198.51.100.0/24\n203.0.113.0/24\n")
	k.Refresh(t.Context(), false)
	k.Inherit(old)
	if k.Set().Len() != 4 {
		t.Errorf("an older list was taken over: %d ranges", k.Set().Len())
	}
}

// What sluice ranges --force has put into the state directory is taken when the keeper is told to look again.
func TestForcedListIsTaken(t *testing.T) {
	p, dir := publish(t), t.TempDir()
	k := newKeeper(t, p.sources(t), dir)
	k.Refresh(t.Context(), false)
	p.answer = says("192.0.2.0/24\n")
	if o := only(t, k.Refresh(t.Context(), false)); !errors.Is(o.Err, ErrShrunk) {
		t.Fatalf("%v", o.Err)
	}
	newKeeper(t, p.sources(t), dir).Refresh(t.Context(), true)
	k.reload()
	if k.Set().Len() != 1 {
		t.Errorf("%d ranges", k.Set().Len())
	}
	if o := only(t, k.Refresh(t.Context(), false)); o.Err != nil {
		t.Error(o.Err)
	}
}

// A list that was kept while the clock was ahead is as old as it can be: new, and asked for again after a period.
func TestListFromTheFuture(t *testing.T) {
	p, dir := publish(t), t.TempDir()
	ahead := func() time.Time { return time.Now().Add(1000 * time.Hour) }
	k, err := NewKeeper(p.sources(t), dir, NewClient(), ahead)
	if err != nil {
		t.Fatal(err)
	}
	k.Refresh(t.Context(), false)
	if taken := newKeeper(t, p.sources(t), dir).States()[0].Taken; time.Until(taken) > 0 {
		t.Errorf("taken in %v", time.Until(taken))
	}
}

// Sources that people read the same are not the same: two queries of one URL, and two lists of given ranges.
func TestDistinct(t *testing.T) {
	var all []Source
	for _, text := range []string{"https://h/l?zone=a,https://h/l?zone=b", "192.0.2.0/24", "192.0.2.0/24,https://h/l?zone=b", "198.51.100.0/24", "cloudflare", "cloudflare"} {
		s, err := ParseSources(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s...)
	}
	once := Distinct(all)
	if got, want := Text(once), "https://h/l?...,https://h/l?...,192.0.2.0/24,198.51.100.0/24,cloudflare"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if once[0].URLs[0] == once[1].URLs[0] {
		t.Error("one of the two queries is there twice")
	}
}
