package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/capture"
	"tapedeck/events"
	"tapedeck/internal/natstest"
)

// TestACluster: on three servers everything is there three times, and each of
// them can go and come back while traffic is recorded.
func TestACluster(t *testing.T) {
	cluster, js := natstest.NewCluster(t)
	setUp(t, js)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "well") }))
	t.Cleanup(origin.Close)
	r := recordOn(t, js, strings.TrimPrefix(origin.URL, "http://"), archiveURL(t, "directory"), capture.Config{
		Cluster: "test", Namespace: "e2e", Service: "s", OnPressure: "block", TapeAge: 20 * time.Millisecond,
	})
	var sent []string
	say := func(n int) {
		for range n {
			path := fmt.Sprintf("/order/%d", len(sent))
			answer, err := http.Get("http://" + r.address + path)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			sent = append(sent, path)
		}
	}
	for i := range 3 {
		say(30)
		cluster.Stop(i)
		say(30)
		cluster.Start(t, i)
		inStep(t, js)
	}
	r.stop()
	r.countsAre(len(sent))
	r.isAccountedFor(len(sent))
}

// setUp makes streams until the servers have found each other, and again.
func setUp(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	options := events.SetupOptions{Database: true, MaxBytes: 1 << 28}
	eventually(t, "the cluster has streams", func() bool {
		_, err := events.Setup(t.Context(), js, options)
		return err == nil
	})
	if made, err := events.Setup(t.Context(), js, options); err != nil || len(made) > 0 {
		t.Errorf("set up again: made %v, %v", made, err)
	}
	if _, err := events.Setup(t.Context(), js, events.SetupOptions{Database: true, Replicas: 1}); err == nil || !strings.Contains(err.Error(), "replicas is 3, want 1") {
		t.Errorf("with one replica: %v", err)
	}
}

// inStep waits until each stream has all of its replicas.
func inStep(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	for _, name := range append(events.Streams(), "KV_"+events.BucketJobs, "KV_"+events.BucketRules) {
		eventually(t, name+" has three replicas in step", func() bool {
			s, err := js.Stream(t.Context(), name)
			if err != nil {
				return false
			}
			c := s.CachedInfo().Cluster
			for _, replica := range c.Replicas {
				if !replica.Current || replica.Offline {
					return false
				}
			}
			return c.Leader != "" && len(c.Replicas) == 2
		})
	}
}
