package replayer

import (
	"errors"
	"strings"
	"testing"

	"tapedeck/wire/http1"
)

func TestTargets(t *testing.T) {
	for _, tt := range []struct {
		allow  string
		target string
		ok     bool
	}{
		{"", "http://127.0.0.1:80", true},
		{"", "http://127.9.9.9", true},
		{"", "http://[::1]:80", true},
		{"", "http://[::ffff:127.0.0.1]:80", true},
		{"", "http://localhost:80", true},
		{"", "http://169.254.169.254", false},
		{"", "http://0.0.0.0", false},
		{"", "http://10.0.0.1", false},
		{"", "http://[fd00:ec2::254]", false},
		{"10.0.0.0/8", "http://10.2.3.4", true},
		{"10.0.0.0/8", "http://[::ffff:10.2.3.4]", true},
		{"10.0.0.0/8", "http://11.2.3.4", false},
		{"10.0.0.0/8", "http://127.0.0.1", false},
		{"10.0.0.0/8,loopback", "http://127.0.0.1", true},
		{"10.1.1.1", "http://10.1.1.1", true},
		{"10.1.1.1", "http://10.1.1.2", false},
		{"shop.test", "https://SHOP.test:8443", true},
		{"shop.test", "http://127.0.0.1", false},
		{"*.staging.svc", "http://orders.staging.svc", true},
		{"any", "http://169.254.169.254", true},
	} {
		var entries []string
		if tt.allow != "" {
			entries = strings.Split(tt.allow, ",")
		}
		targets, err := ParseTargets(entries)
		if err != nil {
			t.Fatal(err)
		}
		u, err := parseTarget(tt.target)
		if err != nil {
			t.Fatal(err)
		}
		err = targets.Check(t.Context(), u)
		if (err == nil) != tt.ok {
			t.Errorf("allowed %q, target %s: %v", tt.allow, tt.target, err)
		}
		if err != nil && !errors.Is(err, http1.ErrRefused) {
			t.Errorf("target %s: %v is not ErrRefused", tt.target, err)
		}
		// The check at the last moment agrees, for addresses.
		control := targets.Control(u)
		address := u.Host
		if u.Port() == "" {
			address += ":80"
		}
		if control != nil && u.Hostname() != "localhost" && (control("tcp", address, nil) == nil) != tt.ok {
			t.Errorf("allowed %q, connecting to %s: %v", tt.allow, address, control("tcp", address, nil))
		}
	}
}

func TestTargetsRefuseNonsense(t *testing.T) {
	for _, entry := range []string{"", "http://a", "10.0.0.0/99", "a b"} {
		if _, err := ParseTargets([]string{entry}); err == nil {
			t.Errorf("allowed target %q was accepted", entry)
		}
	}
	for _, target := range []string{"", "localhost:3000", "ftp://a", "http://", "http://u:p@a", "http://a/path", "http://a?x=y", "http://a\x7f"} {
		if _, err := parseTarget(target); err == nil {
			t.Errorf("target %q was accepted", target)
		} else if strings.Contains(err.Error(), "u:p") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
}
