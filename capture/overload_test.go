package capture

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"tapedeck/events"
	"tapedeck/internal/natstest"
	"tapedeck/wire"
)

// TestThreefoldOverload: the dissectors get through a third of what is asked,
// by count and not by time: for three requests they may do the two reads of
// one. Clients notice nothing, every exchange is on tape or counted, and those
// on tape have their own answers.
func TestThreefoldOverload(t *testing.T) {
	const clients, requests, buffer = 8, 240, 64 << 10
	_, js := natstest.New(t)
	p := &stuck{Protocol: httpProtocol(), wait: make(chan struct{}, 2*clients*requests)}
	c := start(t, Config{Inbound: []string{"0=" + address(echo(t))}, Buffer: buffer}, Deps{JS: js, Protocols: []wire.Protocol{p}})
	var load errgroup.Group
	for i := range clients {
		web := client(t, "")
		load.Go(func() error {
			for n := range requests {
				if n%3 == 0 {
					p.wait <- struct{}{}
					p.wait <- struct{}{}
				}
				if err := echoes(web, fmt.Sprintf("%s/%d-%d", c.url(0), i, n)); err != nil {
					return err
				}
			}
			web.CloseIdleConnections()
			return nil
		})
	}
	if err := load.Wait(); err != nil {
		t.Error("a client notices:", err)
	}
	close(p.wait)
	c.stop()

	out, counts := play(t, tapesOf(t, js)), c.Counts()
	dropped := counts.Dropped[wire.DropPressure]
	if dropped == 0 || len(counts.Dropped) != 1 || counts.Open != 0 || counts.Begun != clients*requests || counts.Begun != counts.Taped+dropped || counts.Taped != uint64(len(out.rows)) {
		t.Errorf("%+v with %d on tape, want some dropped, all by pressure, of %d", counts, len(out.rows), clients*requests)
	}
	if queued := buffer / buffers[0].size / 2; len(out.rows) == 0 || len(out.rows) > clients*requests/3+queued {
		t.Errorf("%d of %d on tape, want a third at most and what was queued", len(out.rows), clients*requests)
	}
	wholeOrNothing(t, out)
}

// TestLongBodiesOverTheBound: many connections at full speed, with bodies longer than the
// bound. What begins and ends within what is dropped is counted, too.
func TestLongBodiesOverTheBound(t *testing.T) {
	_, js := natstest.New(t)
	c := start(t, Config{Inbound: []string{"0=" + address(echo(t))}, Buffer: 128 << 10}, Deps{JS: js})
	const clients, each = 8, 100
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			web := client(t, "")
			for j := range each {
				body := random([]int{100, 70 << 10, 300 << 10}[(i+j)%3])
				answer, err := web.Post(c.url(0)+"/items", "text/plain", bytes.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(answer.Body)
				answer.Body.Close()
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("client got %d bytes of %d, %v", len(got), len(body), err)
				}
			}
			web.CloseIdleConnections()
		})
	}
	wg.Wait()
	c.stop()
	out, counts := play(t, tapesOf(t, js)), c.Counts()
	if counts.Dropped[wire.DropPressure] == 0 {
		t.Fatalf("%+v: nothing was dropped, so nothing is shown", counts)
	}
	if counts.Begun != clients*each || counts.Taped != uint64(len(out.rows)) || counts.Begun != counts.Taped+counts.Dropped[wire.DropPressure] {
		t.Errorf("%+v, %d rows, want all %d accounted for", counts, len(out.rows), clients*each)
	}
	for i, x := range out.exchanges {
		if string(x.Request.Body.GetData()) != string(x.Response.Body.GetData()) {
			t.Errorf("exchange %d has the answer to another", i)
		}
	}
}

// echoes posts the URL's own text and wants it back.
func echoes(web *http.Client, url string) error {
	answer, err := web.Post(url, "text/plain", bytes.NewReader([]byte(url)))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if got, err := io.ReadAll(answer.Body); err != nil || string(got) != url {
		return fmt.Errorf("%s: got %q, %w", url, got, err)
	}
	return nil
}

// wholeOrNothing: what is on tape has its own answer, and is there once.
func wholeOrNothing(t *testing.T, out *recorded) {
	t.Helper()
	seen := map[string]bool{}
	for i, x := range out.exchanges {
		target, asked := x.Request.Target, x.Request.Body.Data
		if seen[target] || out.rows[i].Class != events.StatusClass_OK || !bytes.HasSuffix(asked, []byte(target)) || !bytes.Equal(asked, x.Response.GetBody().GetData()) {
			t.Errorf("%s: twice %v, %s, asked %q, answered %q, failure %q", target, seen[target], out.rows[i].Class.Name(), asked, x.Response.GetBody().GetData(), x.Failure)
		}
		seen[target] = true
	}
}
