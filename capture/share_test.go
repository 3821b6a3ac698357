package capture

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/capture/ca"
	"tapedeck/events"
	"tapedeck/internal/natstest"
)

// What one capture has learned of a client, another does without a failure of
// its client, whether it runs already or starts later.
func TestCapturesShareWhatIsNotOpened(t *testing.T) {
	authority := newTestCA(t)
	upstream := secureServer(t, &tls.Config{Certificates: []tls.Certificate{authority.leaf(t, inAnHour(), "localhost")}})
	_, port, _ := net.SplitHostPort(address(upstream))
	url := "https://localhost:" + port
	_, js := natstest.New(t)
	shared := ca.File(t.TempDir())
	open := func(data string) *opened {
		return startOpening(t, Config{UpstreamCA: authority.file(t), CA: shared}, Deps{JS: js, Data: data})
	}
	dataOfOne := t.TempDir()
	one, two := open(dataOfOne), open(t.TempDir())
	if _, err := fetch(t, one.web(t, authority.pool()), url+"/first"); err == nil {
		t.Fatal("a pinned client was opened")
	}
	knows := func(c *opened) bool { return len(c.terms.passthrough.shared(time.Now())) == 1 }
	eventually(t, "the other knows", func() bool { return knows(two) })
	three := open(t.TempDir())
	eventually(t, "a new one knows", func() bool { return knows(three) })
	for _, c := range []*opened{two, three} {
		if got, err := fetch(t, c.web(t, authority.pool()), url+"/p"); got != "GET /p " {
			t.Errorf("pinned client: %q, %v", got, err)
		}
		if n := value(t, c.metrics.caused.WithLabelValues(passPinned)); n != 0 {
			t.Errorf("%v errors caused", n)
		}
	}
	stranger := startOpening(t, Config{UpstreamCA: authority.file(t)}, Deps{JS: js})
	if got, err := fetch(t, stranger.web(t, stranger.ca), url+"/s"); got != "GET /s " || knows(stranger) {
		t.Errorf("one with another CA: %q, %v", got, err)
	}

	// Deleted in the bucket, it is forgotten everywhere, and in the files.
	bucket, err := js.KeyValue(t.Context(), events.BucketRules)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := bucket.Keys(t.Context())
	if err != nil || len(keys) != 1 {
		t.Fatalf("keys %v, %v", keys, err)
	}
	time1 := time.Now().Truncate(time.Second).Add(time.Second)
	eventually(t, "another second", func() bool { return time.Now().After(time1) })
	if err := bucket.Delete(t.Context(), keys[0]); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*opened{one, two, three} {
		eventually(t, "forgotten", func() bool { return !knows(c) })
	}
	if again, err := readMemory(filepath.Join(dataOfOne, "passthrough.json")); err != nil || len(again) != 0 {
		t.Errorf("the file holds %v, %v", again, err)
	}
}

// What was learned without NATS is shared once it is there; what is over
// leaves the bucket; nonsense in it harms nobody.
func TestMemoryMeetsTheBucket(t *testing.T) {
	_, js := natstest.New(t)
	bucket, err := js.KeyValue(t.Context(), events.BucketRules)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	over := refusal{Host: "over.test:443", Reason: passCertificate, Since: now.Add(-48 * time.Hour), Until: now.Add(-time.Hour)}
	endless := refusal{Host: "endless.test:443", Reason: passCertificate, Since: now, Until: now.Add(1000 * memoryAge)}
	for _, r := range []refusal{over, endless} {
		if err := put(t.Context(), bucket, r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := bucket.Put(t.Context(), "passthrough.x.=.=", []byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	alone := startOpening(t, Config{}, Deps{Data: data})
	if err := alone.terms.passthrough.remember(visitor{host: "mine.test:443"}, passCertificate, now); err != nil {
		t.Fatal(err)
	}
	alone.stop()
	c := startOpening(t, Config{}, Deps{JS: js, Data: data})
	eventually(t, "given and cleaned", func() bool {
		_, err := bucket.Get(t.Context(), (&refusal{Host: "mine.test:443"}).Key())
		_, gone := bucket.Get(t.Context(), over.Key())
		return err == nil && gone == jetstream.ErrKeyNotFound
	})
	p := c.terms.passthrough
	if p.reason(visitor{host: endless.Host}, endless.Host, now) != passCertificate || p.reason(visitor{host: endless.Host}, endless.Host, now.Add(2*memoryAge)) != "" {
		t.Error("another capture's word is not believed for 30 days")
	}
	if p.reason(visitor{host: "mine.test:443"}, "mine.test:443", now) != passCertificate {
		t.Error("our own is forgotten")
	}
	if _, err := os.Stat(filepath.Join(data, "passthrough.json")); err != nil {
		t.Error(err)
	}
}
