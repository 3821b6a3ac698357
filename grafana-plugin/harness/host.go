// Package harness stands in for Grafana in tests: it starts the built plugin as
// Grafana does and speaks with it over the plugin protocol (hashicorp/go-plugin,
// gRPC), and it shows the plugin's browser side in a page of its own (shell.tsx).
//
// What it cannot show: Grafana's own panels, its loader, dashboards, alerting
// and rights.
package harness

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/grpcplugin"
	"github.com/grafana/grafana-plugin-sdk-go/genproto/pluginv2"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
)

// Host is a running plugin.
type Host struct {
	client      *plugin.Client
	data        grpcplugin.DataClient
	diagnostics grpcplugin.DiagnosticsClient
}

// Start runs the plugin's binary and waits for its handshake.
func Start(binary string) (*Host, error) {
	cmd := exec.Command(binary)
	dieWithParent(cmd)
	h := &Host{client: plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion:  grpcplugin.ProtocolVersion,
			MagicCookieKey:   grpcplugin.MagicCookieKey,
			MagicCookieValue: grpcplugin.MagicCookieValue,
		},
		VersionedPlugins: map[int]plugin.PluginSet{grpcplugin.ProtocolVersion: {
			"data":        &grpcplugin.DataGRPCPlugin{},
			"diagnostics": &grpcplugin.DiagnosticsGRPCPlugin{},
		}},
		Cmd:              cmd,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
		StartTimeout:     30 * time.Second,
	})}
	if err := h.dispense(); err != nil {
		h.Close()
		return nil, fmt.Errorf("start plugin %s: %w", binary, err)
	}
	return h, nil
}

func (h *Host) dispense() error {
	client, err := h.client.Client()
	if err != nil {
		return err
	}
	data, err := client.Dispense("data")
	if err != nil {
		return err
	}
	diagnostics, err := client.Dispense("diagnostics")
	if err != nil {
		return err
	}
	var ok [2]bool
	h.data, ok[0] = data.(grpcplugin.DataClient)
	h.diagnostics, ok[1] = diagnostics.(grpcplugin.DiagnosticsClient)
	if ok != [2]bool{true, true} {
		return fmt.Errorf("plugin has no %T or %T", h.data, h.diagnostics)
	}
	return nil
}

// Close ends the plugin.
func (h *Host) Close() { h.client.Kill() }

// Running says whether the plugin's process lives.
func (h *Host) Running() bool { return !h.client.Exited() }

// Query asks as a panel does.
func (h *Host) Query(ctx context.Context, req *backend.QueryDataRequest) (*backend.QueryDataResponse, error) {
	res, err := h.data.QueryData(ctx, backend.ToProto().QueryDataRequest(req))
	if err != nil {
		return nil, err
	}
	return backend.FromProto().QueryDataResponse(res)
}

// Health asks as "Save & test" does.
func (h *Host) Health(ctx context.Context, who backend.PluginContext) (*backend.CheckHealthResult, error) {
	res, err := h.diagnostics.CheckHealth(ctx, &pluginv2.CheckHealthRequest{PluginContext: backend.ToProto().PluginContext(who)})
	if err != nil {
		return nil, err
	}
	return backend.FromProto().CheckHealthResponse(res), nil
}
