// The backend of the Grafana data source tapedeck-traffic-datasource. Grafana
// starts it and speaks with it over gRPC.
package main

import (
	"fmt"
	"os"

	"github.com/grafana/grafana-plugin-sdk-go/backend/datasource"

	"tapedeck/grafana-plugin/datasource/pkg/plugin"
)

func main() {
	if err := datasource.Manage(plugin.ID, plugin.New, datasource.ManageOpts{}); err != nil {
		fmt.Fprintln(os.Stderr, "tapedeck data source:", err)
		os.Exit(1)
	}
}
