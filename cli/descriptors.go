package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"google.golang.org/protobuf/types/descriptorpb"

	"tapedeck/capture"
	"tapedeck/events"
	"tapedeck/internal/service"
	"tapedeck/wire/grpc"
)

// descriptorFlags say where the names of gRPC's fields come from.
type descriptorFlags struct {
	GRPCDescriptors []string `name:"grpc-descriptors" env:"TAPEDECK_GRPC_DESCRIPTORS" sep:"," placeholder:"FILE" help:"Name the fields of gRPC messages by this FileDescriptorSet, beside those that capture has kept in --data. Repeatable."`
	GRPCReflection  []string `name:"grpc-reflection" sep:"," placeholder:"HOST:PORT" help:"Ask the reflection service of this server for them. Repeatable."`
}

const reflectionTimeout = 10 * time.Second

// open reads what was given, and then what capture has kept in data.
func (f *descriptorFlags) open(ctx context.Context, data string) (*grpc.Descriptors, error) {
	var sets []*descriptorpb.FileDescriptorSet
	for _, file := range f.GRPCDescriptors {
		set, err := grpc.ReadSet(file)
		if err != nil {
			return nil, service.Hint(err, capture.DescriptorsHint)
		}
		sets = append(sets, set)
	}
	for _, address := range f.GRPCReflection {
		asking, cancel := context.WithTimeout(ctx, reflectionTimeout)
		set, err := grpc.Reflect(asking, address, nil)
		cancel()
		if err != nil {
			return nil, service.Hint(err, "--grpc-reflection is HOST:PORT or https://HOST:PORT of a server with the reflection service; or give its descriptors with --grpc-descriptors FILE")
		}
		sets = append(sets, set)
	}
	kept, err := grpc.ReadSets(capture.DescriptorsFolder(data))
	if err != nil {
		return nil, err
	}
	d, err := grpc.NewDescriptors(append(sets, kept...)...)
	return d, service.Hint(err, capture.DescriptorsHint)
}

// callMessages are the messages of a call as JSON, for scripts; those that
// can't be read stay as they are.
func callMessages(d *grpc.Descriptors, path string, messages []*events.Message) []*events.Message {
	all := make([]*events.Message, len(messages))
	for i, m := range messages {
		all[i] = m
		if plain, err := d.JSON(path, m); err == nil {
			all[i] = &events.Message{Side: m.Side, Time: m.Time, Type: m.Type, Size: m.Size, Data: plain}
		}
	}
	return all
}

const longLine = 100 // what is longer is easier to read in lines

// forPeople sets long ones in. Their size is that of what is shown.
func forPeople(messages []*events.Message) []*events.Message {
	for _, m := range messages {
		if !json.Valid(m.Data) {
			continue
		}
		var lines bytes.Buffer
		if len(m.Data) > longLine && json.Indent(&lines, m.Data, "", "  ") == nil {
			m.Data = lines.Bytes()
		}
		m.Size = int64(len(m.Data))
	}
	return messages
}
