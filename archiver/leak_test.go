package archiver

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tapedeck/events"
)

func TestMain(m *testing.M) {
	// The encoder's channel is made by its first use: of no test's bubble.
	if _, err := events.NewBuilder(time.Now()).Close(&events.Header{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}
