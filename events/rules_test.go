package events_test

import (
	"encoding/json"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
)

// goldenPassthrough is what stands in buckets already.
const goldenPassthrough = `{"host":"api.bank.example:443","client":"0a1b2c3d4e5f","reason":"pinned","ca":"ab","since":"2026-11-28T10:00:00Z","until":"2026-12-28T10:00:00Z"}`

func TestPassthroughOfTheBucket(t *testing.T) {
	since := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	want := events.Passthrough{Host: "api.bank.example:443", Client: "0a1b2c3d4e5f", Reason: "pinned", CA: "ab", Since: since, Until: since.AddDate(0, 1, 0)}
	const key = "passthrough.api=2Ebank=2Eexample=3A443.0a1b2c3d4e5f.ab"
	got, err := events.ParsePassthrough(key, []byte(goldenPassthrough))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if _, err := events.ParsePassthrough("passthrough.other=3A443.=.=", []byte(goldenPassthrough)); err == nil {
		t.Error("a value under another's key is believed")
	}
}

var validKey = regexp.MustCompile(`^[-/_=.a-zA-Z0-9]+$`) // of NATS

func FuzzPassthrough(f *testing.F) {
	f.Add("passthrough.api=2Ebank=2Eexample=3A443.0a1b2c3d4e5f.ab", []byte(goldenPassthrough))
	f.Add("passthrough.=.=.=", []byte(`{}`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		p, err := events.ParsePassthrough(key, value)
		if err != nil {
			return
		}
		if p.Key() != key || !validKey.MatchString(key) {
			t.Errorf("%+v has key %q, came under %q", p, p.Key(), key)
		}
		again, err := json.Marshal(p)
		if err != nil {
			return // a year that JSON can't write
		}
		if back, err := events.ParsePassthrough(key, again); err == nil && !cmp.Equal(p, back) {
			t.Errorf("%+v is %+v when read again", p, back)
		}
	})
}
