"""Answers to a table of images by Spark: python spark_predictions.py TABLE.csv OUT [CORES]"""

import sys

from pyspark.sql import SparkSession

SCHEMA = "image string, label string, probability double, decision string, error string"


def answers(tables):
    """Each Python worker of Spark loads one model, and answers its share of the rows."""
    from skinxai import Classifier

    classifier = Classifier.from_pretrained()
    for table in tables:
        found = classifier.predict(list(table["image"]), on_error="return")
        rows = [each.to_dict() for each in found]  # an image that failed has only its error
        for name in ("label", "probability", "decision", "error"):
            table[name] = [row.get(name) for row in rows]
        yield table[["image", "label", "probability", "decision", "error"]]


if __name__ == "__main__":
    cores = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    spark = SparkSession.builder.master(f"local[{cores}]").appName("skinxai").getOrCreate()
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "1024")
    images = spark.read.csv(sys.argv[1], header=True).select("image").repartition(cores)
    images.mapInPandas(answers, schema=SCHEMA).write.mode("errorifexists").parquet(sys.argv[2])
    spark.stop()
