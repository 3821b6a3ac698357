package tapes

import (
	"testing"

	"go.uber.org/goleak"
)

// The S3 client keeps idle connections for its next request; it has no end.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}
