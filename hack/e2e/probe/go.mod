// Tools module: grpc_health_probe, which a catalog's pod is probed with. Built by ../build.sh, never imported.
module open-cluster-management.io/multicluster-orchestrator/hack/e2e/probe

go 1.25.0

tool github.com/grpc-ecosystem/grpc-health-probe

require github.com/grpc-ecosystem/grpc-health-probe v0.4.41

require (
	github.com/go-jose/go-jose/v4 v4.1.2 // indirect
	github.com/spiffe/go-spiffe/v2 v2.6.0 // indirect
	golang.org/x/net v0.45.0 // indirect
	golang.org/x/sync v0.17.0 // indirect
	golang.org/x/sys v0.36.0 // indirect
	golang.org/x/text v0.29.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20250707201910-8d1bb00bc6a7 // indirect
	google.golang.org/grpc v1.75.1 // indirect
	google.golang.org/protobuf v1.36.7 // indirect
)
