// The modules whose CRDs the tests apply. Only their zips are downloaded, by build.sh; nothing is compiled or imported.
module open-cluster-management.io/multicluster-orchestrator/hack/crds

go 1.24.0

require (
	github.com/csi-addons/kubernetes-csi-addons v0.12.0
	github.com/noobaa/noobaa-operator/v5 v5.0.0-20251118072940-a392e524a776
	github.com/openshift/api v0.0.0-20251120040117-916c7003ed78
	github.com/operator-framework/api v0.36.0
	github.com/prometheus-operator/prometheus-operator v0.85.0
	github.com/rook/rook v1.18.8
)
