// Package e2e holds tests of everything together, on programs that this
// repository did not write.
package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tapedeck/archiver/tapes"
	"tapedeck/capture"
	"tapedeck/events"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/s3test"
)

// slack is what two processes' views of a time may differ by on a busy machine.
const slack = 250 * time.Millisecond

// VersityGW behind capture, used by aws-sdk-go-v2, curl and raw connections:
// the clients see what they see without us, and every exchange is in the index
// and comes back byte for byte from the archive.
func TestVersityGW(t *testing.T) {
	direct := twin(t, nil)
	without := runScript(t, direct, direct.Address)
	for _, archive := range []string{"directory", "s3"} {
		t.Run(archive, func(t *testing.T) {
			upstream := twin(t, direct)
			r := record(t, upstream.Address, archiveURL(t, archive), capture.Config{
				MaxBody: 0, Redact: "off", Cluster: "test", Namespace: "e2e", Service: "s3", OnPressure: "block",
			})
			with := runScript(t, upstream, r.address)
			r.stop()
			sameView(t, without, with)
			r.countsAre(len(with))
			r.isAccountedFor(len(with))
			r.holds(with)
			r.replays(twin(t, direct), with)
		})
	}
}

// twin starts a server that is filled like every other; of gives it the
// credentials of another.
func twin(t *testing.T, of *s3test.Server) *s3test.Server {
	t.Helper()
	s := s3test.Start(t, scriptBucket)
	if of != nil {
		s.Stop()
		s.Access, s.Secret = of.Access, of.Secret
		if err := s.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, s)
	return s
}

func archiveURL(t *testing.T, kind string) string {
	if kind == "directory" {
		return t.TempDir()
	}
	s := s3test.Start(t, "archive")
	s.Setenv(t)
	return s.URL("archive", "e2e")
}

func (r *recording) countsAre(n int) {
	r.t.Helper()
	c := r.capture.Counts()
	if c.Begun != uint64(n) || c.Taped != uint64(n) || c.Open != 0 || len(c.Dropped) != 0 {
		r.t.Errorf("capture counts %+v, want %d begun and taped", c, n)
	}
}

// isAccountedFor reconciles what the capture saw with what the index has.
func (r *recording) isAccountedFor(n int) {
	r.t.Helper()
	accounts, err := r.reader.Audit(r.t.Context(), time.Time{})
	if err != nil {
		r.t.Fatal(err)
	}
	i := slices.IndexFunc(accounts, func(a traffic.Account) bool { return a.Source == r.capture.Source() })
	if i < 0 {
		r.t.Fatalf("the ledger does not know source %s: %+v", r.capture.Source(), accounts)
	}
	if a := accounts[i]; a.Begun != int64(n) || a.Unaccounted() != 0 || a.MissingTapes != 0 || a.Unarchived != 0 || !a.Ended {
		r.t.Errorf("account %+v, want %d begun and nothing missing", a, n)
	}
}

// holds checks that index and archive have exactly these calls.
func (r *recording) holds(want []*call) {
	r.t.Helper()
	page, err := r.reader.List(r.t.Context(), traffic.ListQuery{Oldest: true, Limit: traffic.MaxPage})
	if err != nil {
		r.t.Fatal(err)
	}
	rows := page.Exchanges
	for _, c := range want {
		i := matching(rows, c)
		if i < 0 {
			r.t.Errorf("not in the index: %s", c)
			continue
		}
		if err := r.check(rows[i], c); err != nil {
			r.t.Errorf("%s: %v", c, err)
		}
		rows = append(rows[:i:i], rows[i+1:]...)
	}
	for _, row := range rows {
		r.t.Errorf("in the index without a client: %s %s → %s, %d up, %d down", row.Method, row.Path, row.Status, row.RequestBytes, row.ResponseBytes)
	}
}

// matching finds the first row that is what the client saw.
func matching(rows []events.Row, c *call) int {
	for i, r := range rows {
		if r.Method == c.method && r.Path == c.path && r.Status == fmt.Sprint(c.status) &&
			(r.RequestBytes == int64(len(c.request)) || c.partial && r.RequestBytes < int64(len(c.request))) && r.ResponseBytes == int64(len(c.response)) &&
			!r.Time.Before(c.begun.Add(-slack)) && !r.Time.After(c.ended.Add(slack)) {
			return i
		}
	}
	return -1
}

// check compares an indexed exchange, and what the archive has of it, with
// what the client saw.
func (r *recording) check(row events.Row, c *call) error {
	if err := checkRow(row, c); err != nil {
		return err
	}
	located, err := r.reader.Get(r.t.Context(), row.ID)
	if err != nil {
		return err
	}
	if located.Place == nil {
		return errors.New("the index does not know where its tape lies")
	}
	place := tapes.Place(*located.Place)
	x, err := r.archive.Exchange(r.t.Context(), place, row)
	if err != nil {
		return err
	}
	owner := events.Service{Cluster: row.Cluster, Namespace: row.Namespace, Service: row.Service}
	if err := r.archive.Complete(r.t.Context(), owner, x); err != nil {
		return err
	}
	return checkExchange(x, c)
}

func checkRow(row events.Row, c *call) error {
	took := c.ended.Sub(c.begun)
	class := map[int]events.StatusClass{4: events.StatusClass_CLIENT, 5: events.StatusClass_SERVER}[c.status/100]
	if class == 0 {
		class = events.StatusClass_OK
	}
	switch {
	case row.Direction != events.Direction_INBOUND || row.Protocol != "http" || row.Service != "s3":
		return fmt.Errorf("row of %s %s %s", row.Direction, row.Protocol, row.Service)
	case c.partial && row.Class == events.StatusClass_FAILED: // its request was cut off
	case row.Class != class:
		return fmt.Errorf("class %s, want %s", row.Class, class)
	case row.Duration <= 0 || row.Duration > took+slack:
		return fmt.Errorf("duration %s, the client waited %s", row.Duration, took)
	case row.TTFB <= 0 || row.TTFB > row.Duration:
		return fmt.Errorf("first byte after %s of %s", row.TTFB, row.Duration)
	case row.Flags != 0:
		return fmt.Errorf("flags %b, want none", row.Flags)
	}
	return nil
}

func checkExchange(x *events.Exchange, c *call) error {
	if got := x.GetRequest().GetBody().GetData(); !bytes.Equal(got, c.request) && !(c.partial && bytes.HasPrefix(c.request, got)) {
		return fmt.Errorf("request body: %d bytes, %x; want %d, %x", len(got), sum(got), len(c.request), sum(c.request))
	}
	if got := x.GetResponse().GetBody().GetData(); !bytes.Equal(got, c.response) {
		return fmt.Errorf("response body: %d bytes, %x; want %d, %x", len(got), sum(got), len(c.response), sum(c.response))
	}
	if len(x.Interim) != c.interim {
		return fmt.Errorf("%d interim answers, want %d", len(x.Interim), c.interim)
	}
	if path, _, _ := strings.Cut(x.Request.Target, "?"); path != c.path || x.Request.Method != c.method {
		return fmt.Errorf("request line %s %s", x.Request.Method, x.Request.Target)
	}
	if strings.HasPrefix(c.name, "curl") { // it tells every byte of the heads
		var heads strings.Builder
		for _, r := range append(x.Interim, x.Response) {
			heads.WriteString(head(r))
		}
		if heads.String() != c.head {
			return fmt.Errorf("heads recorded:\n%s\nseen by curl:\n%s", heads.String(), c.head)
		}
	}
	if strings.HasPrefix(c.name, "pipeline") && !bytes.Equal(x.Request.Headers[0].Name, []byte("host")) {
		return fmt.Errorf("first header %q, want it as sent", x.Request.Headers[0].Name)
	}
	return nil
}

// head is a response's head as it was sent, with lines as curl's are kept here.
func head(r *events.Response) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\n", r.Version, r.Status, r.Reason)
	for _, f := range r.Headers {
		fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Value)
	}
	return b.String() + "\n"
}
