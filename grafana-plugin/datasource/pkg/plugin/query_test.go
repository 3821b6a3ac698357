package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
)

func asked(json string) backend.DataQuery {
	to := time.Now()
	return backend.DataQuery{JSON: []byte(json), TimeRange: backend.TimeRange{From: to.Add(-time.Hour), To: to}}
}

func TestQuerySelector(t *testing.T) {
	for json, want := range map[string]string{
		`{}`:                       `{replay=""}`,
		`{"direction":"outbound"}`: `{direction=outbound && replay=""}`,
		`{"selector":"{service=\"a\" || error}","direction":"inbound"}`: `{(service="a" || error=true) && direction=inbound && replay=""}`,
		`{"selector":"{replay!=\"\"}"}`:                                 `{replay!=""}`,
	} {
		_, expr, err := readQuery(asked(json))
		if err != nil || expr.String() != want {
			t.Errorf("%s: got %s %v, want %s", json, expr, err, want)
		}
	}
}

func TestWrongQueries(t *testing.T) {
	for json, want := range map[string]string{
		`{`:                         "read query",
		`{"selector":"{service=}"}`: "selector column 10",
		`{"direction":"up"}`:        `direction "up" is neither inbound nor outbound`,
	} {
		_, _, err := readQuery(asked(json))
		if !errors.As(err, new(badQuery)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", json, err, want)
		}
	}
	empty := asked(`{}`)
	empty.TimeRange.To = empty.TimeRange.From
	if _, _, err := readQuery(empty); err == nil {
		t.Error("took an empty time range")
	}
}

func TestAlertRulesHaveNoVariables(t *testing.T) {
	for json, refused := range map[string]bool{
		`{"selector":"{service=\"$service\"}"}`:         true,
		`{"selector":"{service=\"${service:regex}\"}"}`: true,
		`{"groupBy":["$by"]}`:                           true,
		`{"selector":"{path=~\"/odata/[$]metadata\"}"}`: false,
		`{"selector":"{path=~\".*html$\"}"}`:            false,
		`{}`:                                            false,
	} {
		if name := leftOver(asked(json)); (name != "") != refused {
			t.Errorf("%s: got %q, want refused %v", json, name, refused)
		}
	}
}

func TestErrorsAreNotThePlugins(t *testing.T) {
	for err, want := range map[error]backend.Status{
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
