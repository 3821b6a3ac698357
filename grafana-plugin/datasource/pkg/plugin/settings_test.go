package plugin

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-plugin-sdk-go/backend"
)

func settingsOf(jsonData, password string) backend.DataSourceInstanceSettings {
	return backend.DataSourceInstanceSettings{JSONData: []byte(jsonData), DecryptedSecureJSONData: map[string]string{"dbPassword": password}}
}

func TestAddress(t *testing.T) {
	for host, want := range map[string]string{
		"db:6543":         "postgres://u:p%2Fw%40@db:6543/d?application_name=tapedeck%20grafana&sslmode=require",
		"db":              "postgres://u:p%2Fw%40@db:5432/d?application_name=tapedeck%20grafana&sslmode=require",
		"::1":             "postgres://u:p%2Fw%40@[::1]:5432/d?application_name=tapedeck%20grafana&sslmode=require",
		"[::1]":           "postgres://u:p%2Fw%40@[::1]:5432/d?application_name=tapedeck%20grafana&sslmode=require",
		"[::1]:6543":      "postgres://u:p%2Fw%40@[::1]:6543/d?application_name=tapedeck%20grafana&sslmode=require",
		"/run/postgresql": "postgres://u:p%2Fw%40@/d?application_name=tapedeck%20grafana&host=%2Frun%2Fpostgresql&sslmode=require",
	} {
		set, err := readSettings(settingsOf(`{"dbHost":" `+host+` ","dbName":"d","dbUser":"u"}`, "p/w@"))
		if err != nil {
			t.Fatal(err)
		}
		got := set.dsn()
		if got != want {
			t.Errorf("host %s: got %s, want %s", host, got, want)
		}
		if u, err := url.Parse(got); err != nil || u.Path != "/d" {
			t.Errorf("host %s: %s is no URL with the path /d: %v", host, got, err)
		}
	}
}

func TestWrongSettings(t *testing.T) {
	for jsonData, want := range map[string]string{
		``:                            "no database host",
		`{"dbHost":"h"}`:              "no database name",
		`{"dbHost":"h","dbName":"d"}`: "no database user",
		`{"dbHost":5}`:                "read settings",
		`{"dbHost":"h","dbName":"d","dbUser":"u","sslMode":"sometimes"}`:          `TLS mode "sometimes" is none of`,
		`{"dbHost":"h","dbName":"d","dbUser":"u","tracesType":"zipkin"}`:          `none of tempo, jaeger`,
		`{"dbHost":"h","dbName":"d","dbUser":"u","natsUrl":"nats://a:b@n:4222"}`:  "the NATS address has a password",
		`{"dbHost":"h","dbName":"d","dbUser":"u","archiveUrl":"s3://a:b@bucket"}`: "the archive's address has a password",
	} {
		_, err := readSettings(settingsOf(jsonData, "secret"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", jsonData, err, want)
		}
	}
}

// A trace leads to what was recorded of it and, when it is known where, to the
// spans of the applications, in that data source's own words.
func TestTraceLinks(t *testing.T) {
	for kind, want := range map[string]map[string]any{
		"":       {"query": "ab", "queryType": "traceql"},
		"tempo":  {"query": "ab", "queryType": "traceql"},
		"jaeger": {"query": "ab"},
	} {
		list := links{"api-traffic", "API Traffic", "spans", kind}.trace("ab")
		if len(list) != 2 || list[0].Internal.DatasourceUID != "api-traffic" || list[1].Internal.DatasourceUID != "spans" {
			t.Fatalf("%s: %+v", kind, list)
		}
		if diff := cmp.Diff(want, list[1].Internal.Query); diff != "" {
			t.Errorf("%s: %s", kind, diff)
		}
	}
	if list := (links{uid: "api-traffic"}).trace("ab"); len(list) != 1 {
		t.Errorf("%+v", list)
	}
}
