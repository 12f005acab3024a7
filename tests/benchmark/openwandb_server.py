"""Starts openwandb, mended: ``OPENWANDB_PORT=8080 VENV/bin/python openwandb_server.py serve``.

Version 0.5.0 does not tell a client that goes on with a run how far the run is, which W&B's client takes as
an error. It knows no artifact that a run uses, nor that two of equal content are one: here `used` has a row
for each use. Runs in the environment that openwandb is installed in.
"""

import json
from pathlib import Path

import strawberry
from openwandb import database, graphql_schema
from openwandb.cli import main
from openwandb.config import FILES_DIR

as_released = graphql_schema._run_to_type


def with_history(run):
    """The answer, with the last line of the run's history and the number of its lines."""
    answer = as_released(run)
    files = sorted(Path(FILES_DIR).glob(f"*/*/{run['run_id']}/wandb-history.jsonl"))
    lines = files[0].read_text().split("\n")[:-1] if files else []
    answer.history_tail = json.dumps(lines[-1:])
    answer.history_line_count = len(lines)
    answer.events_tail = "[]"
    return answer


@strawberry.input
class UseArtifactInput:
    entity_name: str
    project_name: str
    run_name: str
    artifact_id: strawberry.ID = strawberry.field(name="artifactID")
    used_as: str | None = None
    artifact_entity_name: str | None = None
    artifact_project_name: str | None = None
    client_mutation_id: str | None = None


@strawberry.type
class Mutation(graphql_schema.Mutation):
    @strawberry.mutation
    def create_artifact(
        self, input: graphql_schema.CreateArtifactInput
    ) -> graphql_schema.CreateArtifactPayload:
        name, kind = input.artifact_collection_name, input.artifact_type_name
        content = {"digest": input.digest}
        with database.get_db() as base:
            query = "SELECT id FROM artifacts WHERE name = ? AND artifact_type = ? AND metadata_json = ?"
            there = base.execute(query, (name, kind, json.dumps(content))).fetchone()
        made = there or database.create_artifact(input.run_name or "", name, kind, content)
        artifact = graphql_schema.ArtifactType(id=str(made["id"]), digest=input.digest or "")
        return graphql_schema.CreateArtifactPayload(artifact=artifact)

    @strawberry.mutation
    def use_artifact(self, input: UseArtifactInput) -> graphql_schema.CreateArtifactPayload:
        with database.get_db() as base:
            base.execute("CREATE TABLE IF NOT EXISTS used (run_id TEXT, artifact INTEGER)")
            base.execute("INSERT INTO used VALUES (?, ?)", (input.run_name, int(input.artifact_id)))
        artifact = graphql_schema.ArtifactType(id=str(input.artifact_id))
        return graphql_schema.CreateArtifactPayload(artifact=artifact)


graphql_schema._run_to_type = with_history
graphql_schema.schema = strawberry.Schema(query=graphql_schema.Query, mutation=Mutation)
main()
