package grpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tapedeck/events"
	"tapedeck/internal/wiretest"
	"tapedeck/wire"
)

// echo is a service with a method of each kind, put together by hand.
var echo = grpc.ServiceDesc{
	ServiceName: "demo.v1.Echo",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Say", Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		m := &wrapperspb.StringValue{}
		if err := decode(m); err != nil {
			return nil, err
		}
		if m.Value == "missing" {
			return nil, status.Error(codes.NotFound, "no such thing")
		}
		return wrapperspb.String("echo " + m.Value), nil
	}}},
	Streams: []grpc.StreamDesc{
		{StreamName: "Count", ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			m := &wrapperspb.StringValue{}
			if err := s.RecvMsg(m); err != nil {
				return err
			}
			for i := range len(m.Value) {
				if err := s.SendMsg(wrapperspb.String(m.Value[:i+1])); err != nil {
					return err
				}
			}
			return status.Error(codes.Unavailable, "enough")
		}},
		{StreamName: "Gather", ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			all := ""
			for m := (&wrapperspb.StringValue{}); ; {
				if err := s.RecvMsg(m); errors.Is(err, io.EOF) {
					return s.SendMsg(wrapperspb.String(all))
				} else if err != nil {
					return err
				}
				all += m.Value
			}
		}},
		{StreamName: "Chat", ClientStreams: true, ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			for m := (&wrapperspb.StringValue{}); ; {
				if err := s.RecvMsg(m); errors.Is(err, io.EOF) {
					return nil
				} else if err != nil {
					return err
				}
				if err := s.SendMsg(wrapperspb.String("echo " + m.Value)); err != nil {
					return err
				}
			}
		}},
	},
}

// recordedTalk has calls with a real server through a relay.
func recordedTalk(t *testing.T, calls func(c *grpc.ClientConn)) []wiretest.Chunk {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	server.RegisterService(&echo, nil)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-served })
	relay := wiretest.NewRelay(t, l.Addr().String())
	c, err := grpc.NewClient("passthrough:///"+relay.Address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("Echo.example"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	calls(c)
	return relay.Connections(1, func() { c.Close() })[0]
}

// talk returns what a dissector finds of calls, in pieces of any size.
func talk(t *testing.T, calls func(c *grpc.ClientConn)) *wiretest.Sink {
	t.Helper()
	chunks := recordedTalk(t, calls)
	whole := wiretest.Dissect(&Protocol{}, chunks, 1<<20)
	whole.Check(t)
	for _, n := range []int{1, 7, 1000} {
		pieces := wiretest.Dissect(&Protocol{}, chunks, n)
		pieces.Check(t)
		if diff := cmp.Diff(whole.Segments, pieces.Segments, protocmp.Transform()); diff != "" {
			t.Fatalf("pieces of %d bytes make a difference (-whole +pieces):\n%s", n, diff)
		}
		if len(whole.Ended) != len(pieces.Ended) {
			t.Fatalf("pieces of %d bytes: %d exchanges, whole: %d", n, len(pieces.Ended), len(whole.Ended))
		}
	}
	// A sink without segments gets bodies.
	plain := wiretest.NewSink()
	wiretest.DissectInto(plain.Plain(), &Protocol{}, chunks, 100)
	plain.Check(t)
	for i, x := range plain.Ended {
		a, b := x, whole.Ended[i]
		if len(a.Segments) > 0 || a.Request.Body.Size != b.Request.Body.Size || a.Response.GetBody().GetSize() != b.Response.GetBody().GetSize() {
			t.Errorf("without segments %v, with them %v", a, b)
		}
	}
	return whole
}

// say is what the messages of a call say: < of the client, > of the server.
func say(t *testing.T, s *wiretest.Sink, x *events.Exchange) []string {
	t.Helper()
	var all []string
	last := int64(0)
	for _, m := range Messages(x, s.Segments[events.ID(x.Id)]) {
		b, err := Payload(m)
		if err != nil {
			t.Fatal(err)
		}
		text := &wrapperspb.StringValue{}
		if err := proto.Unmarshal(b, text); err != nil {
			t.Fatal(err)
		}
		arrow := map[events.Side]string{events.Side_REQUEST: "<", events.Side_RESPONSE: ">"}[m.Side]
		all = append(all, arrow+text.Value)
		if m.Time < x.Request.FirstByte || len(x.Segments) > 0 && m.Time < last {
			t.Errorf("message %q at %d, the one before at %d", text.Value, m.Time, last)
		}
		last = m.Time
	}
	return all
}

func TestUnary(t *testing.T) {
	s := talk(t, func(c *grpc.ClientConn) {
		for _, text := range []string{"hello", "missing", "packed"} {
			options := []grpc.CallOption{}
			if text == "packed" {
				options = append(options, grpc.UseCompressor(gzip.Name))
			}
			out := &wrapperspb.StringValue{}
			err := c.Invoke(t.Context(), "/demo.v1.Echo/Say", wrapperspb.String(text), out, options...)
			if want := codes.OK; text == "missing" {
				if want = codes.NotFound; status.Code(err) != want {
					t.Errorf("%s: %v", text, err)
				}
			} else if err != nil || out.Value != "echo "+text {
				t.Errorf("%s: %v, %v", text, out, err)
			}
		}
		if err := c.Invoke(t.Context(), "/demo.v1.Echo/Nothing", wrapperspb.String(""), &wrapperspb.StringValue{}); status.Code(err) != codes.Unimplemented {
			t.Error(err)
		}
	})
	var got []string
	for _, x := range s.Ended {
		d := (&Protocol{}).Describe(x)
		got = append(got, fmt.Sprintf("%s %s %s %s %s %s %s %q %d", d.Endpoint.Protocol, d.Endpoint.Host, d.Endpoint.Method, d.Endpoint.Template, d.Path, d.Status, d.Class.Name(), say(t, s, x), len(x.Segments)))
		if x.Request.Body.Kept != x.Request.Body.Size || x.Response.Body.Kept != x.Response.Body.Size {
			t.Errorf("not kept whole: %v", x)
		}
	}
	want := []string{
		`grpc echo.example Say /demo.v1.Echo/Say /demo.v1.Echo/Say OK ok ["<hello" ">echo hello"] 0`,
		`grpc echo.example Say /demo.v1.Echo/Say /demo.v1.Echo/Say NOT_FOUND client ["<missing"] 0`,
		`grpc echo.example Say /demo.v1.Echo/Say /demo.v1.Echo/Say OK ok ["<packed" ">echo packed"] 0`,
		`grpc echo.example Nothing /demo.v1.Echo/Nothing /demo.v1.Echo/Nothing UNIMPLEMENTED server ["<"] 0`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if m := Messages(s.Ended[2], nil); m[0].Type != "message+gzip" || m[1].Type != "message+gzip" {
		t.Errorf("types %q and %q, want both gzip", m[0].Type, m[1].Type)
	}
}

func TestStreams(t *testing.T) {
	chat := grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	s := talk(t, func(c *grpc.ClientConn) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for _, method := range []string{"Count", "Gather", "Chat"} {
			stream, err := c.NewStream(ctx, &chat, "/demo.v1.Echo/"+method)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range []string{"abc", "def", "ghi"} {
				if err := stream.SendMsg(wrapperspb.String(text)); err != nil {
					t.Fatal(err)
				}
				if method == "Count" {
					break
				}
				if method == "Chat" {
					if err := stream.RecvMsg(&wrapperspb.StringValue{}); err != nil {
						t.Fatal(err)
					}
				}
			}
			stream.CloseSend()
			for err = nil; err == nil; {
				err = stream.RecvMsg(&wrapperspb.StringValue{})
			}
			if err != io.EOF && status.Code(err) != codes.Unavailable {
				t.Errorf("%s: %v", method, err)
			}
		}
	})
	got := map[string][]string{}
	for _, x := range s.Ended {
		d := (&Protocol{}).Describe(x)
		got[d.Endpoint.Method] = append([]string{d.Status + " " + d.Class.Name()}, say(t, s, x)...)
		if len(x.Segments) == 0 || x.Request.Body.Kept != x.Request.Body.Size || x.Response.Body.Kept != x.Response.Body.Size {
			t.Errorf("%s: not kept whole: %v", d.Endpoint.Method, x)
		}
		if first := split(x.Request.Body.Data, events.Side_REQUEST, 0, ""); len(first) != 1 {
			t.Errorf("%s: %d messages in the body, want the first", d.Endpoint.Method, len(first))
		}
	}
	want := map[string][]string{
		"Count":  {"UNAVAILABLE server", "<abc", ">a", ">ab", ">abc"},
		"Gather": {"OK ok", "<abc", "<def", "<ghi", ">abcdefghi"},
		"Chat":   {"OK ok", "<abc", ">echo abc", "<def", ">echo def", "<ghi", ">echo ghi"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// A caller that gives up, and messages longer than a body keeps inline.
func TestCancelledAndLong(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 40_000)
	s := talk(t, func(c *grpc.ClientConn) {
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/demo.v1.Echo/Chat")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := errors.Join(stream.SendMsg(wrapperspb.String("hi")), stream.RecvMsg(&wrapperspb.StringValue{})); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		if err := stream.RecvMsg(&wrapperspb.StringValue{}); status.Code(err) != codes.Canceled {
			t.Errorf("got %v, want Canceled", err)
		}
		if err := c.Invoke(t.Context(), "/demo.v1.Echo/Say", wrapperspb.String(long), &wrapperspb.StringValue{}); err != nil {
			t.Error(err)
		}
	})
	i := slices.IndexFunc(s.Ended, func(x *events.Exchange) bool { return x.Request.Target == "/demo.v1.Echo/Chat" })
	cancelled, unary := s.Ended[i], s.Ended[1-i]
	if d := (&Protocol{}).Describe(cancelled); cancelled.Failure != "reset by client: CANCEL" || d.Class != events.StatusClass_FAILED || d.Status != "" {
		t.Errorf("cancelled: %q, %+v", cancelled.Failure, d)
	}
	if diff := cmp.Diff([]string{"<hi", ">echo hi", "<hi", ">echo hi"}, say(t, s, cancelled)); diff != "" {
		t.Errorf("cancelled (-want +got):\n%s", diff)
	}
	if len(unary.Segments) != 0 {
		t.Errorf("a unary call has %d segments", len(unary.Segments))
	}
	for _, side := range []events.Side{events.Side_REQUEST, events.Side_RESPONSE} {
		if got := s.Whole(unary, side); !strings.HasSuffix(string(got), long) {
			t.Errorf("%s: %d bytes, want %d", side, len(got), len(long)+10)
		}
	}
}

// A connection that is seen from its middle on has lost what its heads refer
// to: its calls are gaps, never guesses.
func TestMidwayIsAGap(t *testing.T) {
	chunks := recordedTalk(t, func(c *grpc.ClientConn) {
		for range 3 {
			if err := c.Invoke(t.Context(), "/demo.v1.Echo/Say", wrapperspb.String("a"), &wrapperspb.StringValue{}); err != nil {
				t.Error(err)
			}
		}
	})
	calls := 0
	for skip := 1; skip < len(chunks); skip++ {
		s := wiretest.Dissect(&Protocol{}, chunks[skip:], 1<<20)
		s.Check(t)
		for _, x := range s.Ended {
			calls++
			if !strings.HasPrefix(x.Failure, wire.FailureGap) && x.Request.Target != "/demo.v1.Echo/Say" {
				t.Errorf("without the first %d pieces: %v", skip, x)
			}
			if x.Protocol == Name && x.Request.Target != "/demo.v1.Echo/Say" {
				t.Errorf("without the first %d pieces, a call of %q", skip, x.Request.Target)
			}
		}
	}
	if calls == 0 {
		t.Error("nothing was dissected")
	}
}
