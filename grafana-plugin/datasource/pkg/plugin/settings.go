package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
)

// Settings are what the data source's page in Grafana asks for.
type Settings struct {
	DBHost     string `json:"dbHost"` // host, host:port (5432) or the folder of a Unix socket
	DBName     string `json:"dbName"`
	DBUser     string `json:"dbUser"`
	DBPassword string `json:"-"`          // secret
	SSLMode    string `json:"sslMode"`    // default require
	ArchiveURL string `json:"archiveUrl"` // optional
	NATSURL    string `json:"natsUrl"`    // optional
	TracesUID  string `json:"tracesUid"`  // data source with the traces of applications, optional
	TracesType string `json:"tracesType"` // tempo (default) or jaeger
}

var tracesTypes = []string{"", "tempo", "jaeger"}

var sslModes = []string{"disable", "prefer", "require", "verify-ca", "verify-full"}

func readSettings(s backend.DataSourceInstanceSettings) (Settings, error) {
	var set Settings
	if len(s.JSONData) > 0 {
		if err := json.Unmarshal(s.JSONData, &set); err != nil {
			return Settings{}, fmt.Errorf("read settings: %w", err)
		}
	}
	for _, text := range []*string{&set.DBHost, &set.DBName, &set.DBUser, &set.SSLMode, &set.ArchiveURL, &set.NATSURL, &set.TracesUID} {
		*text = strings.TrimSpace(*text)
	}
	if set.SSLMode == "" {
		set.SSLMode = "require"
	}
	set.DBPassword = s.DecryptedSecureJSONData["dbPassword"]
	return set, set.check()
}

func (s Settings) check() error {
	switch {
	case s.DBHost == "":
		return errors.New("no database host is set")
	case s.DBName == "":
		return errors.New("no database name is set")
	case s.DBUser == "":
		return errors.New("no database user is set")
	case !slices.Contains(sslModes, s.SSLMode):
		return fmt.Errorf("TLS mode %q is none of %s", s.SSLMode, strings.Join(sslModes, ", "))
	case !slices.Contains(tracesTypes, s.TracesType):
		return fmt.Errorf("traces are of type %q, which is none of tempo, jaeger", s.TracesType)
	case hasPassword(s.ArchiveURL):
		return errors.New("the archive's address has a password in it, which everybody who may see the data source can read")
	case hasPassword(s.NATSURL):
		return errors.New("the NATS address has a password in it, which everybody who may see the data source can read")
	}
	return nil
}

func hasPassword(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return false
	}
	_, set := u.User.Password()
	return set
}

// dsn is the address of the database, password included: never show it.
func (s Settings) dsn() string {
	q := url.Values{"sslmode": {s.SSLMode}, "application_name": {"tapedeck grafana"}}
	u := url.URL{Scheme: "postgres", User: url.UserPassword(s.DBUser, s.DBPassword), Path: "/" + s.DBName}
	switch {
	case strings.HasPrefix(s.DBHost, "/"):
		q.Set("host", s.DBHost)
	case hasPort(s.DBHost):
		u.Host = s.DBHost
	default:
		u.Host = net.JoinHostPort(strings.Trim(s.DBHost, "[]"), "5432")
	}
	// In the address of a database a + is a plus.
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	return u.String()
}

func hasPort(host string) bool {
	_, _, err := net.SplitHostPort(host)
	return err == nil
}
