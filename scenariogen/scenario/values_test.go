package scenario

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"tapedeck/events"
)

// liveShop answers as another run of the shop: other tokens, ids and times.
type liveShop struct {
	now    time.Time
	token  string
	order  int
	charge string
	spoil  func(path string, body string) string // a regression
}

func (s *liveShop) answer(x *events.Exchange) *events.Exchange {
	s.now = s.now.Add(time.Second)
	path := x.Request.Method + " " + x.Request.Target
	authorized := events.HeaderValue(x.Request.Headers, "Authorization") == "Bearer "+s.token
	status, body, header := 200, "", fields(nil)
	order := fmt.Sprintf(`{"total":1998,"currency":"EUR","id":%d,"charge":"%s","created_at":"%s","items":[{"sku":"sku-17","count":2}]}`,
		s.order, s.charge, s.now.Format(time.RFC3339Nano))
	switch {
	case path == "POST /login":
		body = fmt.Sprintf(`{"expires_at":"%s","token":"%s"}`, s.now.Add(time.Hour).Format(time.RFC3339), s.token)
	case !authorized:
		status, body = 401, `{"error":"log in"}`
	case path == "GET /products":
		body = products
	case path == "POST /orders":
		status, body, header = 201, order, fields{"Location", fmt.Sprintf("http://live.test/orders/%d", s.order)}
	case path == fmt.Sprintf("GET /orders/%d", s.order):
		body = order
	default:
		status, body = 404, `{"error":"no such thing"}`
	}
	if s.spoil != nil {
		body = s.spoil(path, body)
	}
	got := exchangeOf(s.now, x.Request.Method, x.Request.Target, nil, "", status, header, body)
	got.Request = proto.CloneOf(x.Request)
	got.Request.Host, got.Request.FirstByte = "live.test", s.now.UnixNano()
	return got
}

// run replays a session and returns the differences by test.
func run(session *Session, s *liveShop) [][]events.Difference {
	values := NewValues(session)
	out := make([][]events.Difference, len(session.Tests))
	for i, test := range session.Tests {
		request, _ := values.Request(i)
		got := s.answer(request)
		out[i] = Compare(test.Exchange, got, session.Rules(DefaultRules(), i, values))
		values.Learn(i, got)
	}
	return out
}

func newLiveShop() *liveShop {
	return &liveShop{now: began.Add(90 * 24 * time.Hour), token: "a1b2c3d4e5f6a7b8c9d0", order: 7, charge: "ch_1a2b3c4d5e6f"}
}

func shopSession(t *testing.T) *Session {
	r := newRecorder()
	r.shop(1, 1041)
	r.shop(2, 1042)
	return r.sessions(t)[0]
}

func TestSessionPassesOnAnotherRun(t *testing.T) {
	for i, differences := range run(shopSession(t), newLiveShop()) {
		if len(differences) > 0 {
			t.Errorf("test %d differs: %v", i, differences)
		}
	}
}

func TestRegressionsAreSeen(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(path, body string) string
		test  int
		want  []events.Difference
	}{
		{"another total", replace("POST /orders", `"total":1998`, `"total":1999`), 2,
			[]events.Difference{{Place: "response.body.$.total", Want: "1998", Got: "1999"}}},
		{"a missing name", replace("POST /orders", `,"currency":"EUR"`, ``), 2,
			[]events.Difference{{Place: "response.body.$.currency", Want: "EUR", Got: missing}}},
		{"an additional name", replace("GET /products", `"price":999`, `"price":999,"cost":500`), 1,
			[]events.Difference{{Place: "response.body.$.items[0].cost", Want: missing, Got: "500"}}},
		{"a text for a number", replace("POST /orders", `"id":7`, `"id":"7"`), 2,
			[]events.Difference{{Place: "response.body.$.id", Want: "1041 (any id)", Got: "7"}}},
		{"no time", replace("POST /orders", `"created_at":"2027`, `"created_at":"x2027`), 2, nil},
		{"another product", replace("GET /products", `5f0a02`, `5f0a03`), 1,
			[]events.Difference{{Place: "response.body.$.items[1].id", Want: "6d1c3b1e-5d0a-4b60-8f0e-0d1f6f5f0a02", Got: "6d1c3b1e-5d0a-4b60-8f0e-0d1f6f5f0a03"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			shop := newLiveShop()
			shop.spoil = tt.spoil
			got := run(shopSession(t), shop)
			for i := range got {
				if i != tt.test && len(got[i]) > 0 {
					t.Errorf("test %d differs too: %v", i, got[i])
				}
			}
			if tt.want == nil {
				if len(got[tt.test]) != 1 {
					t.Errorf("differences %v, want one", got[tt.test])
				}
				return
			}
			if diff := cmp.Diff(tt.want, got[tt.test]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func replace(path, old, with string) func(string, string) string {
	return func(p, body string) string {
		if p != path {
			return body
		}
		return strings.ReplaceAll(body, old, with)
	}
}

func TestMissingLinksAreNamed(t *testing.T) {
	session := shopSession(t)
	values := NewValues(session)
	request, missing := values.Request(1)
	if len(missing) != 1 || missing[0].ToPlace != "request.header.Authorization" {
		t.Errorf("missing %v, want the link to the header", missing)
	}
	if got := events.HeaderValue(request.Request.Headers, "Authorization"); got != "Bearer "+token(1) {
		t.Errorf("header %q, want the recorded one", got)
	}
}

func TestLinksGoIntoEveryPlace(t *testing.T) {
	r := newRecorder()
	r.inbound("POST", "/sessions", nil, `{"user":"ada"}`, 201, fields{"Set-Cookie", "sid=s3cr3tvalue01; Path=/; HttpOnly"}, `{"session_id":"sess-900100","csrf_token":"c5rf-77001"}`)
	with := fields{"Cookie", "theme=dark; sid=s3cr3tvalue01", "X-Csrf", "c5rf-77001"}
	r.inbound("POST", "/carts?session=sess-900100&x=1", with, `{"owner":{"session_id":"sess-900100"},"n":1}`, 201, nil, `{"id":501}`)
	r.inbound("POST", "/carts/501/items", append(with, "Content-Type", "application/x-www-form-urlencoded"), "cart_id=501&sku=a%26b", 204, nil, "")
	session := r.sessions(t)[0]
	values := NewValues(session)
	answers := []*events.Exchange{
		exchangeOf(began, "POST", "/sessions", nil, "", 201, fields{"Set-Cookie", "sid=live & well"}, `{"session_id":"new \"quoted\"","csrf_token":"t/1"}`),
		exchangeOf(began, "POST", "/carts", nil, "", 201, nil, `{"id":9}`),
	}
	want := []struct{ target, body, cookie, csrf string }{
		{"/sessions", `{"user":"ada"}`, "", ""},
		{`/carts?session=new+%22quoted%22&x=1`, `{"owner":{"session_id":"new \"quoted\""},"n":1}`, "theme=dark; sid=live & well", "t/1"},
		{"/carts/9/items", "cart_id=9&sku=a%26b", "theme=dark; sid=live & well", "t/1"},
	}
	for i := range session.Tests {
		x, missing := values.Request(i)
		if len(missing) > 0 {
			t.Errorf("request %d misses %v", i, missing)
		}
		h := x.Request.Headers
		got := struct{ target, body, cookie, csrf string }{x.Request.Target, string(x.Request.Body.GetData()), events.HeaderValue(h, "Cookie"), events.HeaderValue(h, "X-Csrf")}
		if got != want[i] {
			t.Errorf("request %d\n got %q\nwant %q", i, got, want[i])
		}
		if n := events.HeaderValue(h, "Content-Length"); n != "" && n != fmt.Sprint(len(got.body)) {
			t.Errorf("request %d: Content-Length %s for %d bytes", i, n, len(got.body))
		}
		if i < len(answers) {
			values.Learn(i, answers[i])
		}
	}
}
