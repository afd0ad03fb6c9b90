package weir

import (
	"context"
	"errors"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/face"
)

// validation checks requests by the rules of their proto files and tells what
// is wrong as google.rpc.BadRequest, field by field, as AIP-193 wants it.
type validation struct{ protovalidate.Validator }

// newValidation compiles the rules of all requests, so that the first call does
// not wait for it.
func newValidation() (validation, error) {
	v, err := protovalidate.New(protovalidate.WithMessages(
		&weirv1.GenerateRequest{}, &weirv1.EmbedRequest{}, &weirv1.CountTokensRequest{}, &weirv1.ModerateRequest{}, &weirv1.ApplyDocumentsRequest{}, &weirv1.QueryCostsRequest{}, &weirv1.CreateKeyRequest{},
		&weirv1.GetTenantRequest{}, &weirv1.ListTenantsRequest{}, &weirv1.GetProjectRequest{}, &weirv1.ListProjectsRequest{},
		&weirv1.GetKeyRequest{}, &weirv1.ListKeysRequest{}, &weirv1.RevokeKeyRequest{}, &weirv1.RotateKeyRequest{}, &weirv1.ListAuditEventsRequest{}, &weirv1.ListBackendsRequest{},
		&weirv1.GetPolicyRequest{}, &weirv1.ListPoliciesRequest{}, &weirv1.DeletePolicyRequest{}, &weirv1.ExplainPolicyRequest{},
		&weirv1.GetModelRequest{}, &weirv1.ListModelsRequest{},
		&weirv1.ListBudgetsRequest{}, &weirv1.GetBudgetRequest{}, &weirv1.AdjustBudgetRequest{},
		&weirv1.ListLeasesRequest{}, &weirv1.ReclaimLeaseRequest{}, &weirv1.CheckLedgerRequest{},
		&weirv1.ListLinesRequest{}, &weirv1.GetCallRequest{}, &weirv1.ListDeadLettersRequest{}, &weirv1.ReplayDeadLetterRequest{},
		&weirv1.ListOutputsRequest{}, &weirv1.GetOutputRequest{}, &weirv1.ExportOutputsRequest{}, &weirv1.CreateRatingRequest{},
	))
	return validation{v}, err
}

// checked is a registrar whose services see valid requests alone, and answer with
// the fields that a read_mask asks for. The check
// comes behind the interceptors of the server, since who may not call is not
// told what is wrong with a request; and it comes with the services, so that no
// server can forget it.
type checked struct {
	grpc.ServiceRegistrar
	validation validation
	resources  map[string]protoreflect.MessageDescriptor
}

// RegisterService implements grpc.ServiceRegistrar.
func (c checked) RegisterService(desc *grpc.ServiceDesc, impl any) {
	with := *desc
	of := func(method string) protoreflect.MessageDescriptor { return c.resources[desc.ServiceName+"/"+method] }
	with.Methods = make([]grpc.MethodDesc, len(desc.Methods))
	for i, m := range desc.Methods {
		with.Methods[i] = grpc.MethodDesc{MethodName: m.MethodName, Handler: c.unary(m.Handler, of(m.MethodName))}
	}
	with.Streams = make([]grpc.StreamDesc, len(desc.Streams))
	for i, s := range desc.Streams {
		with.Streams[i] = s
		with.Streams[i].Handler = func(srv any, stream grpc.ServerStream) error {
			return s.Handler(srv, &validated{stream, c.validation, of(s.StreamName), nil})
		}
	}
	c.ServiceRegistrar.RegisterService(&with, impl)
}

func (c checked) unary(handle grpc.MethodHandler, resource protoreflect.MessageDescriptor) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, outer grpc.UnaryServerInterceptor) (any, error) {
		return handle(srv, ctx, decode, func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			inner := func(ctx context.Context, req any) (any, error) {
				if err := c.validation.checkFor(ctx, req); err != nil {
					return nil, err
				}
				fields, err := selected(req, resource)
				if err != nil {
					return nil, err
				}
				answer, err := next(ctx, req)
				if err != nil {
					return nil, err
				}
				return answer, fields.trim(answer)
			}
			if outer == nil {
				return inner(ctx, req)
			}
			return outer(ctx, req, info, inner)
		})
	}
}

type validated struct {
	grpc.ServerStream
	validation validation
	resource   protoreflect.MessageDescriptor
	fields     selection // of the request that was received
}

// RecvMsg implements grpc.ServerStream.
func (s *validated) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	err := s.validation.checkFor(s.Context(), m)
	if err == nil {
		s.fields, err = selected(m, s.resource)
	}
	return err
}

// SendMsg implements grpc.ServerStream.
func (s *validated) SendMsg(m any) error {
	if err := s.fields.trim(m); err != nil {
		return err
	}
	return s.ServerStream.SendMsg(m)
}

func (v validation) check(req any) error {
	message, ok := req.(proto.Message)
	if !ok {
		return nil
	}
	err := v.Validate(message)
	var broken *protovalidate.ValidationError
	if !errors.As(err, &broken) {
		return err
	}
	fields := &face.FieldsError{}
	for _, violation := range broken.Violations {
		fields.Fields = append(fields.Fields, face.Field{
			Path:        protovalidate.FieldPathString(violation.Proto.GetField()),
			Description: violation.Proto.GetMessage(),
			Rule:        strings.ToUpper(strings.ReplaceAll(violation.Proto.GetRuleId(), ".", "_")),
		})
	}
	return fields
}
