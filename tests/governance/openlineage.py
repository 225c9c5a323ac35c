"""Events held against the classes that OpenLineage's own client is made of."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from openlineage.client import event_v2
from openlineage.client.generated.base import BaseFacet

MODULES = {
    "nominalTime": ("nominal_time_run", "NominalTimeRunFacet"),
    "parent": ("parent_run", "ParentRunFacet"),
    "processing_engine": ("processing_engine_run", "ProcessingEngineRunFacet"),
    "errorMessage": ("error_message_run", "ErrorMessageRunFacet"),
    "jobType": ("job_type_job", "JobTypeJobFacet"),
    "schema": ("schema_dataset", "SchemaDatasetFacet"),
    "version": ("dataset_version_dataset", "DatasetVersionDatasetFacet"),
    "datasetType": ("dataset_type_dataset", "DatasetTypeDatasetFacet"),
    "columnLineage": ("column_lineage_dataset", "ColumnLineageDatasetFacet"),
    "inputStatistics": ("input_statistics_input_dataset", "InputStatisticsInputDatasetFacet"),
    "dataQualityAssertions": ("data_quality_assertions_dataset", "DataQualityAssertionsDatasetFacet"),
    "outputStatistics": ("output_statistics_output_dataset", "OutputStatisticsOutputDatasetFacet"),
}
BASES = {"RunFacet", "JobFacet", "DatasetFacet"}


def facet_class(name: str) -> type[BaseFacet]:
    module, class_name = MODULES[name]
    found = importlib.import_module(f"openlineage.client.generated.{module}")
    return getattr(found, class_name)  # type: ignore[no-any-return]


def require_openlineage(event: Mapping[str, Any]) -> None:
    """Nothing, if `event` is what OpenLineage's classes would take and write; else an error of theirs."""
    run, job = event["run"], event["job"]
    known = event_v2.RunEvent(
        eventType=event_v2.RunState(event["eventType"]),
        eventTime=event["eventTime"],
        producer=event["producer"],
        run=event_v2.Run(runId=run["runId"], facets=_facets(run["facets"])),
        job=event_v2.Job(namespace=job["namespace"], name=job["name"], facets=_facets(job["facets"])),
        inputs=[
            event_v2.InputDataset(
                namespace=one["namespace"],
                name=one["name"],
                facets=_facets(one["facets"]),
                inputFacets=_facets(one["inputFacets"]),
            )
            for one in event["inputs"]
        ],
        outputs=[
            event_v2.OutputDataset(
                namespace=one["namespace"],
                name=one["name"],
                facets=_facets(one["facets"]),
                outputFacets=_facets(one["outputFacets"]),
            )
            for one in event["outputs"]
        ],
    )
    assert known.schemaURL == event["schemaURL"]
    assert set(event) == {"eventType", "eventTime", "producer", "schemaURL", "run", "job", "inputs", "outputs"}


def _facets(facets: Mapping[str, Any]) -> dict[str, BaseFacet]:
    return {name: _facet(name, facet) for name, facet in facets.items()}


def _facet(name: str, facet: Mapping[str, Any]) -> BaseFacet:
    fields = {key: value for key, value in facet.items() if not key.startswith("_")}
    if name.startswith("dataops_"):
        schema = facet["_schemaURL"].rpartition("/")
        assert schema[0].endswith("/2-0-2/OpenLineage.json#/$defs")
        assert schema[2] in BASES
        return BaseFacet(producer=facet["_producer"]).with_additional_properties(**fields)
    made = facet_class(name)
    assert facet["_schemaURL"] == made._get_schema(), name
    module = importlib.import_module(made.__module__)
    return made(producer=facet["_producer"], **_parts(module, made, fields))


def _parts(module: Any, made: type, fields: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` with what they hold made of the facet's own classes, which refuse a key that they don't know."""
    taken = dict(fields)
    if made.__name__ == "SchemaDatasetFacet":
        taken["fields"] = [module.SchemaDatasetFacetFields(**one) for one in fields["fields"]]
    if made.__name__ == "ColumnLineageDatasetFacet":
        taken["fields"] = {
            name: module.Fields(inputFields=[_input_field(module, one) for one in field["inputFields"]])
            for name, field in fields["fields"].items()
        }
        taken["dataset"] = [_input_field(module, one) for one in fields["dataset"]]
    if made.__name__ == "DataQualityAssertionsDatasetFacet":
        taken["assertions"] = [module.Assertion(**one) for one in fields["assertions"]]
    if made.__name__ == "ParentRunFacet":
        taken = {"run": module.Run(**fields["run"]), "job": module.Job(**fields["job"])}
    return taken


def _input_field(module: Any, field: Mapping[str, Any]) -> Any:
    how = [module.Transformation(**one) for one in field["transformations"]]
    return module.InputField(**{**field, "transformations": how})
