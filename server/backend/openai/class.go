package openai

import "github.com/weir-gateway/weir/accounting"

// openAIClasses are those that service_tier asks for. Nothing is sent for auto,
// which is what a request without one is.
var openAIClasses = []accounting.ServiceClass{accounting.ServiceStandard, accounting.ServiceFlex, accounting.ServicePriority, accounting.ServiceScale}

// Classes are the classes of service that servers of a dialect can be asked for.
func Classes(dialect string) []accounting.ServiceClass { return dialects[dialect].Classes }

// standardTier is how the API calls the standard class.
const standardTier = "default"

func tierOf(c accounting.ServiceClass) string {
	if c == accounting.ServiceStandard {
		return standardTier
	}
	return string(c)
}

// servedClass is the class that an answer's service_tier names. A server that
// repeats auto does not say which it was, and on_demand is Groq's word for the
// standard one.
func servedClass(tier string) accounting.ServiceClass {
	switch tier {
	case "auto":
		return ""
	case standardTier, "on_demand":
		return accounting.ServiceStandard
	}
	return accounting.ServedClass(tier)
}
