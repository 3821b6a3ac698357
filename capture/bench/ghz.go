package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
)

// writeHealthService writes the descriptor of the called service: ghz would
// ask the server for it, and be recorded with that.
func writeHealthService(file string) error {
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(grpc_health_v1.File_grpc_health_v1_health_proto)}}
	b, err := proto.Marshal(set)
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o644)
}

// ghzReport is what we read of ghz's own.
type ghzReport struct {
	Count        int64
	Total        time.Duration
	Statuses     map[string]int64 `json:"statusCodeDistribution"`
	Distribution []struct {
		Percentage int
		Latency    time.Duration
	} `json:"latencyDistribution"`
}

// runGhz calls the health service as fast as answers come.
func runGhz(ctx context.Context, l load) (*answers, error) {
	cmd := exec.CommandContext(ctx, l.Ghz, "--insecure", "--protoset", l.Protoset, "--call", "grpc.health.v1.Health/Check",
		"-c", fmt.Sprint(l.Streams*l.Connections), "--connections", fmt.Sprint(l.Connections),
		"-z", l.Duration.String(), "--duration-stop", "wait", "-O", "json", l.Address)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ghz: %w", err)
	}
	var report ghzReport
	if err := json.Unmarshal(out, &report); err != nil {
		return nil, fmt.Errorf("ghz said %.200q: %w", out, err)
	}
	a := &answers{Answered: report.Statuses["OK"], Failed: report.Count - report.Statuses["OK"], Elapsed: report.Total}
	if a.Failed > 0 {
		a.First = fmt.Sprint(report.Statuses)
	}
	for _, d := range report.Distribution {
		switch d.Percentage {
		case 50:
			a.P50 = d.Latency
		case 99:
			a.P99 = d.Latency
		}
	}
	return a, nil
}
