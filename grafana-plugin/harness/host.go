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
	"net/http"
	"net/url"
	"os/exec"
	"strings"
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
	resources   grpcplugin.ResourceClient
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
			"resource":    &grpcplugin.ResourceGRPCPlugin{},
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
	if h.data, err = dispense[grpcplugin.DataClient](client, "data"); err != nil {
		return err
	}
	if h.resources, err = dispense[grpcplugin.ResourceClient](client, "resource"); err != nil {
		return err
	}
	h.diagnostics, err = dispense[grpcplugin.DiagnosticsClient](client, "diagnostics")
	return err
}

func dispense[Client any](from plugin.ClientProtocol, name string) (client Client, err error) {
	part, err := from.Dispense(name)
	if err != nil {
		return client, err
	}
	client, ok := part.(Client)
	if !ok {
		return client, fmt.Errorf("the plugin's %s is a %T", name, part)
	}
	return client, nil
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

// Resource asks for a path of the plugin, as getResource does.
func (h *Host) Resource(ctx context.Context, who backend.PluginContext, path string) (*backend.CallResourceResponse, error) {
	target, err := url.Parse(path)
	if err != nil {
		return nil, err
	}
	stream, err := h.resources.CallResource(ctx, &pluginv2.CallResourceRequest{
		PluginContext: backend.ToProto().PluginContext(who), Method: http.MethodGet, Path: strings.TrimPrefix(target.Path, "/"), Url: path,
	})
	if err != nil {
		return nil, err
	}
	res, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	return backend.FromProto().CallResourceResponse(res), nil
}

// Health asks as "Save & test" does.
func (h *Host) Health(ctx context.Context, who backend.PluginContext) (*backend.CheckHealthResult, error) {
	res, err := h.diagnostics.CheckHealth(ctx, &pluginv2.CheckHealthRequest{PluginContext: backend.ToProto().PluginContext(who)})
	if err != nil {
		return nil, err
	}
	return backend.FromProto().CheckHealthResponse(res), nil
}
