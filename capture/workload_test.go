package capture

import (
	"testing"

	"github.com/alecthomas/kong"
	"google.golang.org/protobuf/proto"

	"tapedeck/events"
)

// Kubernetes' downward API gives a pod's facts as variables; a label that a
// pod does not have is an empty one.
func TestWorkloadFromTheDownwardAPI(t *testing.T) {
	for _, test := range []struct {
		version string
		service string
		want    *events.Workload
	}{
		{"1.2.3", "cart", &events.Workload{Cluster: "eu-1", Namespace: "shop", Service: "cart", Version: "1.2.3", Instance: "cart-6d5f9-x2x7q"}},
		{"", "", &events.Workload{Cluster: "eu-1", Namespace: "shop", Service: "capture", Instance: "cart-6d5f9-x2x7q"}}, // the folder of this test
	} {
		for name, value := range map[string]string{"CLUSTER": "eu-1", "NAMESPACE": "shop", "SERVICE": test.service, "VERSION": test.version, "INSTANCE": "cart-6d5f9-x2x7q"} {
			t.Setenv("TAPEDECK_"+name, value)
		}
		var cfg Config
		parser, err := kong.New(&cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(nil); err != nil {
			t.Fatal(err)
		}
		cfg = cfg.withDefaults()
		if got := cfg.workload(); !proto.Equal(got, test.want) {
			t.Errorf("got %v, want %v", got, test.want)
		}
		if cfg.MaxEndpoints != 5000 {
			t.Errorf("bound of %d endpoints, want 5000", cfg.MaxEndpoints)
		}
	}
}
