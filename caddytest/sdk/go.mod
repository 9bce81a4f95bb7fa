module github.com/freshbearer/freshbearer/caddytest/sdk

go 1.26.0

require (
	github.com/rwestlund/quickbooks-go v1.0.0
	golang.org/x/oauth2 v0.37.0
)

require gopkg.in/guregu/null.v4 v4.0.0 // indirect
