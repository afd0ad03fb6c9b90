package weir

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/weir-gateway/weir/server/face"
)

// everyField is what AIP-157 calls all fields.
const everyField = "*"

// resources are what the methods of weir.v1 answer with, by service and method:
// the message in field 1 of the answer, which a read_mask speaks of.
func resources() map[string]protoreflect.MessageDescriptor {
	all := map[string]protoreflect.MessageDescriptor{}
	protoregistry.GlobalFiles.RangeFilesByPackage("weir.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				method := service.Methods().Get(j)
				if field := method.Output().Fields().ByNumber(1); field != nil && field.Message() != nil {
					all[string(service.FullName())+"/"+string(method.Name())] = field.Message()
				}
			}
		}
		return true
	})
	return all
}

// A selection is the fields that a read_mask asks for, and of each the fields
// in it. One without any is all of it.
type selection map[string]selection

// selected reads the read_mask of a request for resources. It is nil where all
// is asked for.
func selected(req any, resource protoreflect.MessageDescriptor) (selection, error) {
	r, ok := req.(interface {
		GetReadMask() *fieldmaskpb.FieldMask
	})
	if !ok {
		return nil, nil
	}
	all := selection{}
	for _, path := range r.GetReadMask().GetPaths() {
		if path == everyField {
			if len(r.GetReadMask().GetPaths()) > 1 {
				return nil, face.Invalid("read_mask", `"*" is all fields, and stands alone`)
			}
			return nil, nil
		}
		if err := all.add(path, resource); err != nil {
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all, nil
}

func (s selection) add(path string, in protoreflect.MessageDescriptor) error {
	for part := range strings.SplitSeq(path, ".") {
		if in == nil {
			return face.Invalid("read_mask", "%q: a field of a list, a map or a scalar cannot be chosen", path)
		}
		field := in.Fields().ByName(protoreflect.Name(part))
		if field == nil {
			return face.Invalid("read_mask", "%q: the fields of %s are %s", path, in.Name(), strings.Join(namesOf(in), ", "))
		}
		name := string(field.Name())
		next, known := s[name]
		switch {
		case !known:
			next = selection{}
			s[name] = next
		case len(next) == 0: // all of it is asked for
			return nil
		}
		if in = field.Message(); field.IsList() || field.IsMap() {
			in = nil
		}
		s = next
	}
	clear(s) // what was chosen in it before is part of it
	return nil
}

func namesOf(m protoreflect.MessageDescriptor) (names []string) {
	for i := range m.Fields().Len() {
		names = append(names, string(m.Fields().Get(i).Name()))
	}
	return names
}

// trim takes out of an answer what is not selected of its resources.
func (s selection) trim(answer any) error {
	if s == nil {
		return nil
	}
	m, ok := answer.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is no answer", answer)
	}
	answered := m.ProtoReflect()
	field := answered.Descriptor().Fields().ByNumber(1)
	switch {
	case field.IsList():
		list := answered.Get(field).List()
		for i := range list.Len() {
			s.keep(list.Get(i).Message())
		}
	case answered.Has(field):
		s.keep(answered.Get(field).Message())
	}
	return nil
}

func (s selection) keep(m protoreflect.Message) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		inner, chosen := s[string(field.Name())]
		switch {
		case !chosen:
			m.Clear(field)
		case len(inner) > 0:
			inner.keep(value.Message())
		}
		return true
	})
}
