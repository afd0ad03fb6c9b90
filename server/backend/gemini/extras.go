package gemini

import (
	"encoding/json"
	"strconv"

	pb "cloud.google.com/go/ai/generativelanguage/apiv1beta/generativelanguagepb"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/httpstream"
)

// gather keeps what of a response the neutral form has no place for. Of what comes
// again the last counts.
func (s *stream) gather(r *pb.GenerateContentResponse) {
	if f := r.GetPromptFeedback(); f != nil {
		keep(&s.extras, "promptFeedback", f)
	}
	u := r.GetUsageMetadata()
	keep(&s.extras, "usageMetadata", &pb.GenerateContentResponse_UsageMetadata{
		PromptTokensDetails: mixed(u.GetPromptTokensDetails()), CacheTokensDetails: mixed(u.GetCacheTokensDetails()),
		CandidatesTokensDetails: mixed(u.GetCandidatesTokensDetails()), ToolUsePromptTokensDetails: mixed(u.GetToolUsePromptTokensDetails())})
}

// mixed are counts by modality, nil where all is text, which the totals tell.
func mixed(counts []*pb.ModalityTokenCount) []*pb.ModalityTokenCount {
	for _, c := range counts {
		if c.GetModality() != pb.Modality_TEXT {
			return counts
		}
	}
	return nil
}

// gatherCandidate keeps what of a candidate has no place: why the filter ended it,
// what it rests on, and what a finish reason says beyond the neutral one.
func (s *stream) gatherCandidate(i int, in *pb.Candidate) {
	x := &s.candidates[i].extras
	of := &pb.Candidate{SafetyRatings: in.GetSafetyRatings(), CitationMetadata: in.GetCitationMetadata(), GroundingAttributions: in.GetGroundingAttributions(),
		GroundingMetadata: in.GetGroundingMetadata(), UrlContextMetadata: in.GetUrlContextMetadata(), AvgLogprobs: in.GetAvgLogprobs()}
	switch r := in.GetFinishReason(); r {
	case pb.Candidate_STOP, pb.Candidate_MAX_TOKENS, pb.Candidate_FINISH_REASON_UNSPECIFIED:
	default:
		of.FinishReason = r
	}
	for name, value := range httpstream.Members(written(of)) {
		x.Put(string(name), value)
	}
}

func keep(x *httpstream.Extras, name string, m proto.Message) {
	if object := written(m); len(object) > len("{}") {
		x.Put(name, object)
	}
}

// written is a message as the API's JSON has it, compact; nil where it cannot be
// written.
func written(m proto.Message) []byte {
	loose, err := protojson.Marshal(m)
	if err != nil {
		return nil
	}
	// The library varies its spaces on purpose.
	tight, err := json.Marshal(json.RawMessage(loose))
	if err != nil {
		return nil
	}
	return tight
}

// beside is what was kept, in the shape of a response; nil where there is nothing.
func (s *stream) beside() backend.VendorExtras {
	var all []json.RawMessage
	for i := range s.candidates {
		x := &s.candidates[i].extras
		if x.Object() != nil {
			x.Put("index", []byte(strconv.Itoa(i)))
			all = append(all, x.Object())
		}
	}
	if list, err := json.Marshal(all); err == nil && len(all) > 0 {
		s.extras.Put("candidates", list)
	}
	if s.extras.Object() == nil {
		return nil
	}
	return backend.VendorExtras{signer: s.extras.Object()}
}
