package scenario

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
	"tapedeck/wire"
)

func TestBuilderMakesSessionsMocksAndDependencies(t *testing.T) {
	r := newRecorder()
	r.shop(1, 1041)
	r.shop(2, 1042)
	bucket := openBucket(t)
	m := r.build(t, bucket, Options{By: "ada", Selector: `{service="shop"}`})
	if m.Sessions != 2 || m.Tests != 8 || m.Mocks != 4 {
		t.Errorf("%d sessions, %d tests, %d mocks, want 2, 8, 4", m.Sessions, m.Tests, m.Mocks)
	}
	want := []events.Dependency{{Name: "catalog.test", Protocol: "http", Mocks: 2}, {Name: "payments.test", Protocol: "http", Mocks: 2}}
	if diff := cmp.Diff(want, m.Dependencies); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"k1"}, m.RedactionKeys); diff != "" {
		t.Error(diff)
	}
	if len(m.Warnings) != 0 {
		t.Errorf("warnings %q, want none", m.Warnings)
	}
	s := openScenario(t, bucket)
	sessions := readTests(t, s, Share{})
	if len(sessions) != 2 {
		t.Fatalf("read %d sessions, want 2", len(sessions))
	}
	for _, session := range sessions {
		var paths []string
		for _, test := range session.Tests {
			paths = append(paths, test.Exchange.Request.Method+" "+test.Template)
		}
		if diff := cmp.Diff([]string{"POST /login", "GET /products", "POST /orders", "GET /orders/{id}"}, paths); diff != "" {
			t.Error(diff)
		}
	}
	if mocks := readMocks(t, s, "payments.test"); len(mocks) != 2 {
		t.Errorf("read %d mocks of payments, want 2", len(mocks))
	}
}

func TestLinksOfTheShop(t *testing.T) {
	r := newRecorder()
	r.shop(1, 1041)
	r.shop(2, 1042)
	got := linksText(r.sessions(t)[0].Links)
	want := []string{
		"0 response.body.$.token → 1 request.header.Authorization",
		"0 response.body.$.token → 2 request.header.Authorization",
		"0 response.body.$.token → 3 request.header.Authorization",
		"2 response.location.path[1] → 3 request.path[1]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestVolatilePlacesOfTheShop(t *testing.T) {
	r := newRecorder()
	r.shop(1, 1041)
	r.shop(2, 1042)
	session := r.sessions(t)[0]
	want := [][]string{
		{"response.body.$.expires_at time", "response.body.$.token redacted"},
		{}, // product ids are the same for both customers
		{"response.body.$.charge token", "response.body.$.created_at time", "response.body.$.id id", "response.location.path[1] linked"},
		{"response.body.$.charge token", "response.body.$.created_at time", "response.body.$.id linked"},
	}
	for i, test := range session.Tests {
		if diff := cmp.Diff(want[i], volatileText(test.Volatile)); diff != "" {
			t.Errorf("test %d: %s", i, diff)
		}
	}
}

func TestMocksForgetWhatTheRunMadeUp(t *testing.T) {
	r := newRecorder()
	r.shop(1, 1041)
	r.shop(2, 1042)
	bucket := openBucket(t)
	r.build(t, bucket, Options{})
	k := readMocks(t, openScenario(t, bucket), "payments.test")[0]
	if diff := cmp.Diff([]string{"request.body.$.order_id linked"}, volatileText(k.Volatile)); diff != "" {
		t.Error(diff)
	}
	want := []string{"request.body.$.order_id → response.body.$.order_id", "request.body.$.amount → response.body.$.amount"}
	var got []string
	for _, e := range k.Echoes {
		got = append(got, e.From+" → "+e.To)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBuilderTakesExchangesTwiceAndInAnyOrder(t *testing.T) {
	r := newRecorder()
	r.shop(1, 1041)
	r.shop(2, 1042)
	var twisted recorder
	for i := len(r.all) - 1; i >= 0; i-- {
		twisted.rows = append(twisted.rows, r.rows[i], r.rows[i])
		twisted.all = append(twisted.all, r.all[i], r.all[i])
	}
	one := r.sessions(t)
	two := twisted.sessions(t)
	if len(one) != len(two) {
		t.Fatalf("%d and %d sessions", len(one), len(two))
	}
	for i := range one {
		if one[i].String() != two[i].String() {
			t.Errorf("session %d differs:\n%s\n%s", i, one[i], two[i])
		}
	}
}

func TestBuilderSpillsToAFile(t *testing.T) {
	r := newRecorder()
	for n := range 20 {
		r.shop(n, 1041+n)
	}
	a, b := openBucket(t), openBucket(t)
	r.build(t, a, Options{CreatedAt: began})
	r.build(t, b, Options{CreatedAt: began, Memory: 1})
	if diff := cmp.Diff(openScenario(t, a).Manifest(), openScenario(t, b).Manifest()); diff != "" {
		t.Error(diff)
	}
}

func TestBuilderSaysWhyThereIsNothing(t *testing.T) {
	b := NewBuilder(Options{Name: "checkout", Version: "v", Protocols: protocols()})
	defer b.Close()
	_, err := b.Finish(t.Context(), openBucket(t))
	var invalid *InvalidError
	if !errors.As(err, &invalid) {
		t.Errorf("error %v, want an InvalidError", err)
	}
	r := newRecorder()
	r.inbound("GET", "/", nil, "", 200, nil, "")
	r.inbound("GET", "/", nil, "", 200, nil, "")
	r.rows[1].Service = "other"
	for i := range r.all {
		if err := b.Add(&r.rows[i], r.all[i]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err = b.Finish(t.Context(), openBucket(t)); !errors.As(err, &invalid) {
		t.Errorf("two services: error %v, want an InvalidError", err)
	}
}

func TestSessionIsCutWhereTheRedactionKeyTurns(t *testing.T) {
	r := newRecorder()
	r.inbound("GET", "/me", nil, "", 200, nil, `{"token":"td1_old_00000000000000000000000000000001"}`)
	r.inbound("GET", "/me", nil, "", 200, nil, `{"token":"td1_new_00000000000000000000000000000002"}`)
	bucket := openBucket(t)
	m := r.build(t, bucket, Options{})
	if m.Sessions != 2 || len(m.Cuts) != 1 || m.Cuts[0].Session != r.client.String()+".2" {
		t.Errorf("%d sessions, cuts %v, want 2 sessions and one cut", m.Sessions, m.Cuts)
	}
	if diff := cmp.Diff([]string{"new", "old"}, m.RedactionKeys); diff != "" {
		t.Error(diff)
	}
}

// A client with a credential is another session behind the turn: its log-in,
// and what it did with the old token, stay before it.
func TestSessionWithACredentialIsCutWhereTheRedactionKeyTurns(t *testing.T) {
	r := newRecorder()
	under := func(key string, n int) string { return fmt.Sprintf("td1_%s_%032x", key, n) }
	me := func(key string, n int) {
		r.inbound("GET", "/me", fields{"Authorization", "Bearer " + under(key, n)}, "", 200, nil, `{"plan":"gold"}`).RedactionKeyId = key
	}
	r.inbound("POST", "/login", nil, `{"user":"ada"}`, 200, nil, `{"token":"`+under("0a", 1)+`"}`).RedactionKeyId = "0a"
	me("0a", 1)
	me("0b", 2)
	me("0b", 2)
	r.turn() // somebody who comes afterwards goes on with nothing
	me("0b", 3)
	m := r.build(t, openBucket(t), Options{})
	if m.Sessions != 3 || len(m.Cuts) != 1 || !strings.HasPrefix(m.Cuts[0].Reason, "the redaction key turned from 0a to 0b; it was session ") {
		t.Fatalf("%d sessions, cuts %v, want 3 sessions and one cut", m.Sessions, m.Cuts)
	}
	if want := wire.Session(r.all[2].Request.Headers).String(); m.Cuts[0].Session != want {
		t.Errorf("cut session %s, want %s", m.Cuts[0].Session, want)
	}
	if m.Ready().Cuts != 1 || !strings.Contains(strings.Join(m.Warnings, "\n"), "redaction key turned") {
		t.Errorf("announced %+v, warnings %q", m.Ready(), m.Warnings)
	}
}

// Shaped tokens (a UUID, a card) name no key: the exchange does.
func TestSessionIsCutByTheKeyOfItsExchanges(t *testing.T) {
	r := newRecorder()
	r.inbound("GET", "/me", nil, "", 200, nil, `{"card":"9912345678901231"}`).RedactionKeyId = "0a"
	r.inbound("GET", "/me", nil, "", 200, nil, `{"card":"9912345678901239"}`).RedactionKeyId = "0b"
	m := r.build(t, openBucket(t), Options{})
	if m.Sessions != 2 || len(m.Cuts) != 1 {
		t.Errorf("%d sessions, cuts %v, want 2 sessions and one cut", m.Sessions, m.Cuts)
	}
}

func TestMetadataIsNoTest(t *testing.T) {
	r := newRecorder()
	r.inbound("GET", "/", nil, "", 200, nil, "ok")
	x := r.inbound("GET", "/users/{id}", nil, "", 200, nil, "")
	x.Redactions = []*events.Redaction{{Class: "exchange", Action: events.MetadataOnly}}
	if m := r.build(t, openBucket(t), Options{}); m.Tests != 1 || len(m.Skipped) != 1 {
		t.Errorf("%d tests, skipped %v, want one of each", m.Tests, m.Skipped)
	}
}

func TestTruncatedExchangesAreCounted(t *testing.T) {
	r := newRecorder()
	r.inbound("GET", "/", nil, "", 200, nil, "ok")
	x := r.inbound("POST", "/upload", nil, "half", 200, nil, "ok")
	x.Request.Body.Size = 8
	y := r.outbound("files.test", "GET", "/big", "", 200, "half")
	y.Response.Body.Size = 8
	m := r.build(t, openBucket(t), Options{})
	want := map[string]int{"request body was truncated": 1, "answer of a dependency was truncated": 1}
	if diff := cmp.Diff(want, m.Skipped); diff != "" {
		t.Error(diff)
	}
	if m.Tests != 1 || m.Mocks != 0 {
		t.Errorf("%d tests and %d mocks, want 1 and 0", m.Tests, m.Mocks)
	}
}

func TestCredentialFromNowhereIsAWarning(t *testing.T) {
	r := newRecorder()
	r.inbound("GET", "/me", fields{"Authorization", "Bearer " + token(1)}, "", 200, nil, `{"name":"ada"}`)
	if m := r.build(t, openBucket(t), Options{}); len(m.Warnings) != 1 {
		t.Errorf("warnings %q, want one", m.Warnings)
	}
}

func TestDependencyKeepsWhereItWasListenedFor(t *testing.T) {
	r := newRecorder()
	r.inbound("GET", "/", nil, "", 200, nil, "ok")
	r.outbound("payments.test:4000", "GET", "/a", "", 200, "ok").Connection.Listen = "127.0.0.1:8081"
	r.outbound("catalog.test", "GET", "/b", "", 200, "ok")
	m := r.build(t, openBucket(t), Options{})
	want := []events.Dependency{
		{Name: "catalog.test", Protocol: "http", Mocks: 1},
		{Name: "payments.test:4000", Protocol: "http", Listen: "127.0.0.1:8081", Mocks: 1},
	}
	if diff := cmp.Diff(want, m.Dependencies); diff != "" {
		t.Error(diff)
	}
}

// A log-in by cookie, on a connection of its own, and a refreshed token are
// one session with what follows.
func TestLogInAndRefreshJoinTheSession(t *testing.T) {
	r := newRecorder()
	r.inbound("GET", "/", nil, "", 200, nil, "welcome")
	r.inbound("POST", "/login", nil, `{"user":"ada"}`, 200, fields{"Set-Cookie", "sid=" + token(1) + "; Path=/"}, "")
	r.turn()
	r.inbound("GET", "/me", fields{"Cookie", "sid=" + token(1)}, "", 200, nil, "ada")
	r.inbound("POST", "/refresh", fields{"Cookie", "sid=" + token(1)}, "", 200, fields{"Set-Cookie", "sid=" + token(2)}, "")
	r.turn()
	r.inbound("GET", "/me", fields{"Cookie", "sid=" + token(2)}, "", 200, nil, "ada")
	sessions := r.sessions(t)
	if len(sessions) != 2 || len(sessions[0].Tests) != 1 || len(sessions[1].Tests) != 4 {
		t.Fatalf("%d sessions %v, want the anonymous visit and the rest", len(sessions), sessions)
	}
	want := []string{
		"0 response.cookie.sid → 1 request.cookie.sid",
		"0 response.cookie.sid → 2 request.cookie.sid",
		"2 response.cookie.sid → 3 request.cookie.sid",
	}
	if diff := cmp.Diff(want, linksText(sessions[1].Links)); diff != "" {
		t.Error(diff)
	}
}

// Values that are the same by chance are no links.
func TestFalseLinks(t *testing.T) {
	r := newRecorder()
	r.inbound("GET", "/settings", nil, "", 200, nil,
		`{"id":7,"page":2,"currency":"EUR","enabled":true,"name":"ada","ok":"ok","country":"de","limit":"10","version":"v1"}`)
	r.inbound("GET", "/v1/products/7?page=2&limit=10&currency=EUR&sort=name&enabled=true", nil, "", 200, nil, "[]")
	r.inbound("POST", "/carts", nil, `{"quantity":2,"currency":"EUR","name":"ada","ok":"ok","product":7,"enabled":true}`, 201, nil, `{"id":8}`)
	r.inbound("PUT", "/carts/8/products/8", nil, `{"quantity":8}`, 200, nil, "")
	want := []string{"2 response.body.$.id → 3 request.path[1]"}
	if diff := cmp.Diff(want, linksText(r.sessions(t)[0].Links)); diff != "" {
		t.Error(diff)
	}
}
