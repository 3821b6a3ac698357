package broker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
)

// rights are those of a capture in docs/broker.md.
var rights = server.Permissions{
	Publish: &server.SubjectPermission{Allow: []string{
		"captured.local.default.shop", "$JS.API.STREAM.INFO.CAPTURED", "$JS.API.CONSUMER.INFO.CAPTURED.*",
		"$JS.API.STREAM.INFO.KV_RULES", "$JS.API.CONSUMER.CREATE.KV_RULES.>", "$JS.API.CONSUMER.DELETE.KV_RULES.>", "$KV.RULES.passthrough.>",
	}},
	Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
}

// A capture needs no more rights than docs/broker.md gives it.
func TestRightsOfACapture(t *testing.T) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true,
		Users: []*server.User{{Username: "admin", Password: t.Name()}, {Username: "capture", Password: t.Name(), Permissions: &rights}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server is not ready")
	}
	connect := func(user string) jetstream.JetStream {
		conn, err := nats.Connect(s.ClientURL(), nats.UserInfo(user, t.Name()), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { t.Error(user, err) }))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Close)
		js, err := jetstream.New(conn)
		if err != nil {
			t.Fatal(err)
		}
		return js
	}
	if _, err := events.Setup(t.Context(), connect("admin"), events.SetupOptions{Database: true, MaxBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	js := connect("capture")
	if err := events.CheckSinks(t.Context(), js); err != nil {
		t.Error(err)
	}
	if _, err := js.Publish(t.Context(), "captured.local.default.shop", nil, jetstream.WithExpectStream(events.StreamCaptured)); err != nil {
		t.Error(err)
	}
	bucket, err := js.KeyValue(t.Context(), events.BucketRules)
	if err != nil {
		t.Fatal(err)
	}
	watcher, err := bucket.Watch(t.Context(), events.PassthroughKeys)
	if err != nil {
		t.Fatal(err)
	}
	key := (&events.Passthrough{Host: "bank.test:443"}).Key()
	revision, err := bucket.Put(t.Context(), key, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	for entry := range watcher.Updates() {
		if entry != nil && strings.HasPrefix(entry.Key(), "passthrough.bank") {
			break
		}
	}
	if err := bucket.Purge(t.Context(), key, jetstream.LastRevision(revision)); err != nil {
		t.Error(err)
	}
	if err := watcher.Stop(); err != nil {
		t.Error(err)
	}
}
