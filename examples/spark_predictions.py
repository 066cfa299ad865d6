"""Answers to a table of images by Spark: python spark_predictions.py TABLE.csv OUT_FOLDER [CORES]"""

import sys

from pyspark.sql import SparkSession

SCHEMA = "image string, label string, probability double, decision string, error string"


def answers(tables):
    """Each Python worker of Spark loads one model, and answers its share of the rows."""
    from skinxai import Classifier, ItemError

    classifier = Classifier.from_pretrained()
    for table in tables:
        found = classifier.predict(list(table["image"]), on_error="return")
        failed = [isinstance(each, ItemError) for each in found]
        table["label"] = [None if bad else f.label for f, bad in zip(found, failed)]
        table["probability"] = [None if bad else f.probability for f, bad in zip(found, failed)]
        table["decision"] = [None if bad else f.decision for f, bad in zip(found, failed)]
        table["error"] = [str(f.error) if bad else None for f, bad in zip(found, failed)]
        yield table[["image", "label", "probability", "decision", "error"]]


if __name__ == "__main__":
    cores = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    spark = SparkSession.builder.master(f"local[{cores}]").appName("skinxai").getOrCreate()
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "1024")
    images = spark.read.csv(sys.argv[1], header=True).select("image").repartition(cores)
    images.mapInPandas(answers, schema=SCHEMA).write.mode("errorifexists").parquet(sys.argv[2])
    spark.stop()
