package openai

import (
	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/face"
)

// classes are those that service_tier can ask for. Auto is to ask for none.
var classes = map[string]accounting.ServiceClass{
	"": "", "auto": "", "default": accounting.ServiceStandard,
	"flex": accounting.ServiceFlex, "priority": accounting.ServicePriority, "scale": accounting.ServiceScale,
}

// class reads the service_tier.
func (in *chatRequest) class(out *backend.Request) error {
	class, known := classes[in.ServiceTier]
	if !known {
		return face.Invalid("service_tier", "must be auto, default, flex, priority or scale")
	}
	out.ServiceClass = class
	return nil
}

// tierOf is the service_tier of an answer, empty where the backend did not say it.
func tierOf(served accounting.ServiceClass) string {
	if served == accounting.ServiceStandard {
		return "default"
	}
	return string(served)
}
