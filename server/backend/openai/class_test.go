package openai

import (
	"testing"

	"github.com/weir-gateway/weir/accounting"
)

func TestTiersAreClasses(t *testing.T) {
	for tier, want := range map[string]accounting.ServiceClass{
		"": "", "auto": "", "default": accounting.ServiceStandard, "on_demand": accounting.ServiceStandard, "standard": accounting.ServiceStandard,
		"flex": accounting.ServiceFlex, "priority": accounting.ServicePriority, "scale": accounting.ServiceScale, "batch": accounting.ServiceBatch,
		"performance": accounting.ServiceOther, "Default": accounting.ServiceOther, "other": accounting.ServiceOther,
	} {
		if got := servedClass(tier); got != want {
			t.Errorf("%q is %q; want %q", tier, got, want)
		}
	}
	for _, c := range openAIClasses {
		if got := servedClass(tierOf(c)); got != c {
			t.Errorf("%s is asked for as %q, which is %q", c, tierOf(c), got)
		}
	}
}
