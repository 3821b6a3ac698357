package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"tapedeck/indexer/traffic"
)

func asked(json string) backend.DataQuery {
	to := time.Now()
	return backend.DataQuery{JSON: []byte(json), TimeRange: backend.TimeRange{From: to.Add(-time.Hour), To: to}}
}

func TestQuerySelector(t *testing.T) {
	for json, want := range map[string]string{
		`{}`:                       `{}`,
		`{"direction":"outbound"}`: `{direction=outbound}`,
		`{"selector":"{service=\"a\" || error}","direction":"inbound"}`:                        `{(service="a" || error=true) && direction=inbound}`,
		`{"selector":"{error}","filters":[{"key":"host","operator":"!=","value":"a\" || b"}]}`: `{error=true && host!="a\" || b"}`,
		`{"filters":[{"key":"tag.x y","operator":"=~","value":"a.*"}]}`:                        `{tag."x y"=~"a.*"}`,
		`{"filters":[{"key":"host","operator":"=|","value":"a","values":["a","b"]}]}`:          `{host="a" || host="b"}`,
		`{"filters":[{"key":"host","operator":"!=|","value":"a","values":["a","b"]}]}`:         `{!(host="a" || host="b")}`,
	} {
		q, err := readQuery(asked(json))
		if err != nil || q.expr.String() != want {
			t.Errorf("%s: got %+v %v, want %s", json, q, err, want)
		}
	}
}

func TestWrongQueries(t *testing.T) {
	for json, want := range map[string]string{
		`{`:                         "read query",
		`{"selector":"{service=}"}`: "selector column 10",
		`{"direction":"up"}`:        `direction "up" is neither inbound nor outbound`,
		`{"filters":[{"key":"peer","operator":"=","value":"a"}]}`:               `filter peer: selector has no key "peer"`,
		`{"filters":[{"key":"host=x || host","operator":"=","value":"a"}]}`:     `has no key "host=x || host"`,
		`{"filters":[{"key":"host","operator":"=\"a\" || host=","value":"a"}]}`: `has no operator`,
	} {
		_, err := readQuery(asked(json))
		if !errors.As(err, new(badQuery)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", json, err, want)
		}
	}
	empty := asked(`{}`)
	empty.TimeRange.To = empty.TimeRange.From
	if _, err := readQuery(empty); err == nil {
		t.Error("took an empty time range")
	}
}

func TestAlertRulesHaveNoVariables(t *testing.T) {
	for json, refused := range map[string]bool{
		`{"selector":"{service=\"$service\"}"}`:                       true,
		`{"selector":"{service=\"${service:regex}\"}"}`:               true,
		`{"groupBy":["$by"]}`:                                         true,
		`{"filters":[{"key":"host","operator":"=","value":"$host"}]}`: true,
		`{"scenario":"$scenario"}`:                                    true,
		`{"selector":"{path=~\"/odata/[$]metadata\"}"}`:               false,
		`{"selector":"{path=~\".*html$\"}"}`:                          false,
		`{}`:                                                          false,
	} {
		if name := leftOver(asked(json)); (name != "") != refused {
			t.Errorf("%s: got %q, want refused %v", json, name, refused)
		}
	}
}

func TestErrorsAreNotThePlugins(t *testing.T) {
	for err, want := range map[error]backend.Status{
		fmt.Errorf("get: %w", traffic.ErrNotFound):            backend.StatusNotFound,
		badQuery{errors.New("no")}:                            backend.StatusBadRequest,
		fmt.Errorf("list: %w", context.DeadlineExceeded):      backend.StatusTimeout,
		errors.New("connect to database: connection refused"): backend.StatusBadGateway,
	} {
		got := failed(err)
		if got.Status != want || got.ErrorSource != backend.ErrorSourceDownstream || got.Error.Error() != err.Error() {
			t.Errorf("%v: got %d %s %v, want %d from downstream", err, got.Status, got.ErrorSource, got.Error, want)
		}
	}
}
