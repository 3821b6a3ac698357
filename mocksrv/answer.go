package mocksrv

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"tapedeck/events"
	"tapedeck/internal/service"
	"tapedeck/scenariogen/scenario"
	"tapedeck/wire/http1"
)

// answer answers for a dependency.
func (s *Server) answer(ctx context.Context, d *dependency, x *events.Exchange) *events.Response {
	begin := time.Now()
	x.Direction = events.Direction_OUTBOUND
	m := d.matcher.Match(x)
	switch {
	case m.Level != scenario.Miss:
		d.serve(m.Level)
		s.Metrics.count(d.Name, "served")
		r := m.Mock.Answer(x)
		nameOneself(r, m.Mock.Exchange.Request.Host, x.Request.Host)
		s.delay(ctx, begin, m.Mock)
		return r
	case d.pass != nil:
		d.passThrough()
		s.Metrics.count(d.Name, "passed_through")
		return passThrough(ctx, d, x)
	}
	miss := s.missOf(x, m)
	d.miss(miss)
	s.Metrics.count(d.Name, "missed")
	s.Log.Warn("no recorded answer", "dependency", d.Name, "method", miss.Method, "path", miss.Path)
	return explain(http.StatusNotImplemented, explanation{
		Error: "no recorded answer fits this request", Dependency: d.Name, Request: miss.Method + " " + x.Request.Target,
		Closest: closest(m.Mock), Differences: miss.Diffs,
	})
}

// delay waits until the answer has taken as long as it was recorded.
func (s *Server) delay(ctx context.Context, begin time.Time, m *scenario.Mock) {
	if s.Latency != LatencyRecorded {
		return
	}
	recorded := m.Exchange.Response.FirstByte - m.Exchange.Request.FirstByte
	service.Sleep(ctx, time.Until(begin.Add(time.Duration(recorded))))
}

func (s *Server) missOf(x *events.Exchange, m scenario.Match) events.MockMiss {
	miss := events.MockMiss{Method: x.Request.Method, Path: s.path(x), Diffs: events.HideSecrets(m.Differences)}
	if m.Mock != nil {
		if id, err := events.IDFrom(m.Mock.Exchange.Id); err == nil {
			miss.Closest = &id
		}
	}
	return miss
}

// path is that of a live request as results and logs may show it.
func (s *Server) path(x *events.Exchange) string { return s.Secrets.Hide(http1.Path(x.Request.Target)) }

// explanation is the body of an answer that is tapedeck's own.
type explanation struct {
	Error       string              `json:"error"`
	Dependency  string              `json:"dependency,omitempty"`
	Request     string              `json:"request,omitempty"`
	Closest     *closestRequest     `json:"closest,omitempty"`
	Differences []events.Difference `json:"differences,omitempty"` // to the closest
	Hint        string              `json:"hint,omitempty"`
}

type closestRequest struct {
	Exchange string    `json:"exchange"`
	Request  string    `json:"request"`
	Time     time.Time `json:"recorded_at"`
}

func closest(m *scenario.Mock) *closestRequest {
	if m == nil {
		return nil
	}
	id, err := events.IDFrom(m.Exchange.Id)
	if err != nil {
		return nil
	}
	q := m.Exchange.Request
	return &closestRequest{id.String(), q.Method + " " + q.Target, time.Unix(0, q.FirstByte).UTC()}
}

// MissHeader marks an answer that was not recorded.
const MissHeader = "Tapedeck-Miss"

func explain(status int, e explanation) *events.Response {
	e.Error = "tapedeck: " + e.Error
	b, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		b = []byte(`{"error":"tapedeck: no recorded answer"}`)
	}
	b = append(b, '\n')
	return &events.Response{
		Status: strconv.Itoa(status), Reason: http.StatusText(status), Version: "HTTP/1.1",
		Headers: []*events.Field{
			{Name: []byte("Content-Type"), Value: []byte("application/json")},
			{Name: []byte(MissHeader), Value: []byte("true")},
			{Name: []byte("Content-Length"), Value: strconv.AppendInt(nil, int64(len(b)), 10)},
		},
		Body: &events.Body{Data: b, Size: int64(len(b)), Kept: int64(len(b))},
	}
}

// answerAsProxy answers what an HTTP proxy is sent: requests in absolute form
// for any host.
func (s *Server) answerAsProxy(ctx context.Context, x *events.Exchange) *events.Response {
	if x.Request.Method == http.MethodConnect {
		return s.refuse(x.Request.Target, x, "tunnels (CONNECT, for HTTPS) can't be mocked", "call the mock's own address over plain HTTP")
	}
	if !strings.Contains(x.Request.Target, "://") {
		return explain(http.StatusBadRequest, explanation{
			Error: "this is an HTTP proxy: the request names no host", Request: x.Request.Method + " " + x.Request.Target,
			Hint: "use it as HTTP_PROXY, or call the address of one dependency",
		})
	}
	host := dependencyName(x.Request)
	if d := s.named(host); d != nil {
		return s.answer(ctx, d, x)
	}
	return s.refuse(host, x, "no dependency of this name is mocked", "")
}

// named finds a dependency by its name, or by the address on this machine where
// it is mocked or was recorded: programs send calls to that to their proxy as
// well.
func (s *Server) named(host string) *dependency {
	if d := s.dependencies[host]; d != nil {
		return d
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil || name != "localhost" && !net.ParseIP(name).IsLoopback() {
		return nil
	}
	for _, d := range s.dependencies {
		for _, address := range []string{d.listener.Addr().String(), d.Listen} {
			if strings.HasSuffix(address, ":"+port) {
				return d
			}
		}
	}
	return nil
}

// refuse answers for a host that is not mocked: it is never called.
func (s *Server) refuse(host string, x *events.Exchange, reason, hint string) *events.Response {
	s.stranger(host).miss(events.MockMiss{Method: x.Request.Method, Path: s.path(x)})
	s.Metrics.count("", "missed")
	s.Log.Warn(reason, "host", host, "method", x.Request.Method)
	return explain(http.StatusBadGateway, explanation{Error: reason, Dependency: host, Request: x.Request.Method + " " + x.Request.Target, Hint: hint})
}

// dependencyName is the host of a request as endpoints name it.
func dependencyName(r *events.Request) string {
	host := strings.ToLower(r.Host)
	if r.Scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

// realPool connects to the real dependency.
func realPool(name string, secure bool) *http1.Pool {
	target := &url.URL{Scheme: "http", Host: name}
	if secure {
		target.Scheme = "https"
	}
	if _, port, err := net.SplitHostPort(name); err == nil && port == "443" {
		target.Scheme = "https"
	}
	return &http1.Pool{Target: target}
}

// passThrough sends a request to the real dependency.
func passThrough(ctx context.Context, d *dependency, x *events.Exchange) *events.Response {
	client := d.pass.Client()
	defer client.Close()
	got, err := client.Do(ctx, x)
	switch {
	case err != nil:
		return explain(http.StatusBadGateway, explanation{Error: "the real dependency could not be called: " + err.Error(), Dependency: d.Name})
	case got.Failure != "" || got.Response == nil:
		return explain(http.StatusBadGateway, explanation{Error: "the real dependency gave no complete answer: " + got.Failure, Dependency: d.Name})
	}
	return got.Response
}
