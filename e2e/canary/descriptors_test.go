package canary

import (
	"os"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// writeDescriptors writes a FileDescriptorSet of the service that calls go to:
// with it the fields of messages have names.
func writeDescriptors(t *testing.T, file string) {
	t.Helper()
	one := func(name string, number int32) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{
			Name: &name, Number: &number, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
		}
	}
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{{
		Name: proto.String("shop.proto"), Package: proto.String("shop"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("User"), Field: []*descriptorpb.FieldDescriptorProto{one("mail", 1), one("note", 2)}}},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("Users"), Method: []*descriptorpb.MethodDescriptorProto{
			{Name: proto.String("Find"), InputType: proto.String(".shop.User"), OutputType: proto.String(".shop.User")},
		}}},
	}}}
	b, err := proto.Marshal(set)
	if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
