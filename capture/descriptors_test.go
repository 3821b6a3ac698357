package capture

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"tapedeck/internal/natstest"
	"tapedeck/internal/service"
	grpcwire "tapedeck/wire/grpc"
)

// healthServer counts the calls of its reflection service.
func healthServer(t *testing.T, l net.Listener, asked chan<- string) {
	t.Helper()
	server := grpc.NewServer(grpc.StreamInterceptor(func(s any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		asked <- info.FullMethod
		return next(s, stream)
	}))
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-served })
}

// check calls the service through capture.
func check(t *testing.T, address string) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
}

// A server that comes up after us is asked; then recorded messages have names.
func TestReflectionKeepsDescriptors(t *testing.T) {
	_, js := natstest.New(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	data := t.TempDir()
	c := start(t, Config{Inbound: []string{"0=" + address}, GRPCReflection: []string{address}}, Deps{JS: js, Data: data})
	if l, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 100)
	healthServer(t, l, asked)
	check(t, c.Addrs()[0].String())
	kept := func() bool {
		sets, err := grpcwire.ReadSets(DescriptorsFolder(data))
		return err == nil && len(sets) == 1
	}
	eventually(t, "descriptors are kept", kept)
	c.stop()
	sets, err := grpcwire.ReadSets(DescriptorsFolder(data))
	if err != nil {
		t.Fatal(err)
	}
	d, err := grpcwire.NewDescriptors(sets...)
	if err != nil {
		t.Fatal(err)
	}
	out := play(t, tapesOf(t, js))
	if len(out.exchanges) != 1 { // reflection does not go through us
		t.Fatalf("%d exchanges, want 1", len(out.exchanges))
	}
	all := grpcwire.Messages(out.exchanges[0], nil)
	if len(all) != 2 {
		t.Fatalf("%d messages, want 2", len(all))
	}
	if got, err := d.JSON(out.rows[0].Path, all[1]); string(got) != `{"status":"SERVING"}` {
		t.Errorf("got %s, %v", got, err)
	}
}

// Unless it is asked for, capture sends nothing of its own.
func TestNoReflectionUnasked(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 100)
	healthServer(t, l, asked)
	c := start(t, Config{Inbound: []string{"0=" + l.Addr().String()}}, Deps{})
	check(t, c.Addrs()[0].String())
	c.stop()
	if len(asked) != 0 {
		t.Errorf("the server was asked %s", <-asked)
	}
}

func TestDescriptorFilesAreKept(t *testing.T) {
	data, from := t.TempDir(), t.TempDir()
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(grpc_health_v1.File_grpc_health_v1_health_proto)}}
	if err := grpcwire.WriteSet(from, set); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(from, "*"))
	for range 2 { // as often as it begins
		c := start(t, Config{GRPCDescriptors: files}, Deps{Data: data})
		c.stop()
	}
	if sets, err := grpcwire.ReadSets(DescriptorsFolder(data)); err != nil || len(sets) != 1 {
		t.Errorf("%d sets, %v, want 1", len(sets), err)
	}
	bad := filepath.Join(from, "api.proto")
	if err := os.WriteFile(bad, []byte("syntax = \"proto3\";"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := New(Config{GRPCDescriptors: []string{bad}}, Deps{Data: data})
	if err == nil || !strings.Contains(err.Error(), bad) || !strings.Contains(service.HintOf(err), "descriptor_set_out") {
		t.Errorf("a .proto file: %v, hint %q", err, service.HintOf(err))
	}
}
